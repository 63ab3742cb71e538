"""What a night costs of which most is known: the reuse table alone, and a run with it end to end.

::

    python -m benchmarks.refresh --rows 100000
    python -m benchmarks.refresh --rows 1000000 --ranked 200000 --write

``matching`` makes the table of a second night, whose documents are those of the first but for a
share that has other texts: yesterday's published run (of the lexical family) is read, shuffled to
today's queries and looked up by what today's documents hold. Its time does not count Ray's start,
which the run after it needs anyway. ``end to end`` runs both nights with a family that costs a
fixed time per token, asleep (benchmarks/fixed_cost.py), so that two CPUs are enough for its two
replicas: the first night scores everything, the second what changed. Each is measured in a process
of its own that starts its own Ray; memory is sampled as in ``benchmarks.staging``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from benchmarks.lexical_throughput import machine, sampled
from benchmarks.staging import Lists, apart, driver_peak, made_lists, put_files
from pipeline.candidates.inputs import Input
from pipeline.candidates.reuse import ReuseTable
from pipeline.config import JobConfig
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.identity import ModelIdentity
from pipeline.execution.runs.run_folder import MANIFEST, RunFolder
from pipeline.execution.task_session import task_session
from pipeline.refresh.reuse.making import SIZES, Reuse
from pipeline.refresh.reuse.previous import Previous
from pipeline.refresh.reuse.work import Sizes
from pipeline.rerankers.base import Reranker

_RESULT: Final = Path(__file__).parent / "results" / "refresh.json"
_FAMILY: Final = "benchmarks.fixed_cost"
_ALLOWED: Final = frozenset([_FAMILY])
_FIRST: Final = datetime.date(2026, 1, 1)
_REPLICAS: Final = 2


@dataclass(frozen=True, kw_only=True)
class Matching:
    """Making one reuse table.

    Attributes:
        before: rows of yesterday's run.
        now: candidates of today.
        reused: of these, documents whose score holds.
        ray_start_s: that Ray took to start.
        seconds: from the opened input to the table's manifest.
        rows_per_s: rows of both nights in a second.
        table_mib: size of the table.
        peak_mib: highest sum of unique set sizes and shared memory, less what was there before.
        peak_process_mib: highest unique set size of one process.
        driver_mib: highest resident set size of the driver.
    """

    before: int
    now: int
    reused: int
    ray_start_s: float
    seconds: float
    rows_per_s: int
    table_mib: float
    peak_mib: int
    peak_process_mib: int
    driver_mib: int


@dataclass(frozen=True, kw_only=True)
class Night:
    """One run, from planning to publication, Ray's start among it.

    Attributes:
        rows: candidates.
        reused: of these, documents whose score was taken over.
        seconds: wall time.
        table_s: of these, making the reuse table; Ray's start among it where the table needs it.
        model_s: time of forward passes, of all replicas together.
    """

    rows: int
    reused: int
    seconds: float
    table_s: float
    model_s: float


class Timed:
    """Makes a reuse table, and notes how long that takes."""

    def __init__(self, reuse: Reuse) -> None:
        self.seconds = 0.0
        self._reuse = reuse

    def __call__(self, source: Input, model: ModelIdentity, reranker: Reranker) -> ReuseTable:
        """The table."""
        begun = time.monotonic()
        table = self._reuse(source, model, reranker)
        self.seconds = time.monotonic() - begun
        return table


def churned(lists: Lists, share: float) -> Lists:
    """The same lists, with other texts of a share of the documents, evenly spread."""
    texts = lists.texts
    count = len(texts)
    changed = np.zeros(count, dtype=bool)
    changed[np.random.default_rng(2).permutation(count)[: round(share * count)]] = True
    other = pc.binary_join_element_wise(texts, "of today", " ")
    return replace(lists, texts=pc.if_else(pa.array(changed), other, texts))


def put_nights(folder: Path, rows: int, documents: int, churn: float) -> None:
    """The inputs of both nights."""
    lists = made_lists(rows, documents, giant=False)
    put_files(folder / "first", lists.inside())
    put_files(folder / "second", churned(lists, churn).inside())


def job(folder: Path, night: str, model: dict[str, Any]) -> JobConfig:
    """The run of a night."""
    return JobConfig.model_validate(
        {
            "model": model,
            "input": {"path": str(folder / night)},
            "output": {"path": str(folder / "out")},
            "units": {"documents": 10_000},
            "replicas": {"min": _REPLICAS, "max": _REPLICAS, "num_cpus": 0.25},
            "ray": {"mode": "cluster", "read_cpus": 0.5},
            "progress": {"interval_s": 3600},
        }
    )


def reuse_of(
    config: JobConfig, run: str | None, staying: ExitStack, *, sizes: Sizes = SIZES
) -> Timed:
    """What makes the table of the first night, or of the second, after a run."""
    previous = None
    if run is not None:
        manifest = Path(run, MANIFEST).read_bytes()
        digest = hashlib.sha256(manifest).hexdigest()
        previous = Previous(folder=RunFolder(run), manifest_sha256=digest, sequence=1)
    date = _FIRST + datetime.timedelta(days=run is not None)
    reuse = Reuse(
        config=config, previous=previous, date=date, max_age_days=None, staying=staying,
        sizes=sizes,
    )  # fmt: skip
    return Timed(reuse)


def measure_matching(folder: Path, run: str) -> Matching:
    """Make the table of the second night."""
    config = job(folder, "second", {"name": "lexical"})
    with sampled() as peak, driver_peak() as driver, ExitStack() as staying:
        begun = time.monotonic()
        task_session(config, staying)
        started = time.monotonic() - begun
        # Through Ray however small: what is measured is what a large night does.
        timed = reuse_of(config, run, staying, sizes=replace(SIZES, here=0))
        found = prepare(config, reuse=timed, staying=staying)
    table = table_of(found)
    before = json.loads(Path(run, MANIFEST).read_bytes())["documents"]
    now = found.source.rows
    return Matching(
        before=before,
        now=now,
        reused=table.counts["documents"]["reuse"],
        ray_start_s=round(started, 1),
        seconds=round(timed.seconds, 1),
        rows_per_s=round((before + now) / timed.seconds),
        table_mib=round(sum(part.bytes for part in table.parts) / 2**20, 1),
        peak_mib=round(peak["total"]),
        peak_process_mib=round(peak["process"]),
        driver_mib=round(driver["peak"]),
    )


def table_of(found: Prepared) -> ReuseTable:
    """The reuse table of a job that was prepared with one."""
    if found.reuse is None:
        raise RuntimeError("the job has no reuse table")
    return found.reuse


def run_night(
    folder: Path, night: str, model: dict[str, Any], run: str | None
) -> tuple[Night, str]:
    """Run a night through a fresh local Ray; returns the run's folder as well."""
    config = job(folder, night, model)
    log = folder / "log"
    log.write_text("")
    with ExitStack() as staying:
        begun = time.monotonic()
        timed = reuse_of(config, run, staying)
        found = prepare(config, reuse=timed, staying=staying, allow_code=_ALLOWED)
        outcome = execute(found)
        seconds = time.monotonic() - begun
    passes = [line.split() for line in log.read_text().splitlines()]
    if outcome.manifest["quarantined"]:
        raise RuntimeError(f"{night}: {outcome.manifest['quarantined']} documents have no score")
    measured = Night(
        rows=outcome.manifest["documents"],
        reused=outcome.manifest["reused"],
        seconds=round(seconds, 1),
        table_s=round(timed.seconds, 1),
        model_s=round(sum(float(ended) - float(began) for _, began, ended in passes), 1),
    )
    return measured, outcome.folder


def in_folder(work: Callable[[Path], Any]) -> Any:
    """What a function gives for a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        return work(Path(temporary))


def matching(rows: int, documents: int, churn: float) -> dict[str, Any]:
    """Both nights' inputs, yesterday's run, and today's table; each in a process of its own."""

    def work(folder: Path) -> dict[str, Any]:
        apart(put_nights, folder, rows, documents, churn)
        _, run = apart(run_night, folder, "first", {"name": "lexical"}, None)
        return asdict(apart(measure_matching, folder, run))

    found: dict[str, Any] = in_folder(work)
    return found


def end_to_end(rows: int, documents: int, churn: float, pace: float) -> dict[str, Any]:
    """A night that scores everything, and one that scores what changed."""

    def work(folder: Path) -> dict[str, Any]:
        apart(put_nights, folder, rows, documents, churn)
        (folder / "pace").write_text(str(pace))
        settings = {"pace": str(folder / "pace"), "log": str(folder / "log")}
        model = {"family": _FAMILY, "settings": settings}
        full, run = apart(run_night, folder, "first", model, None)
        night, _ = apart(run_night, folder, "second", model, run)
        return {
            "churn": churn,
            "seconds_per_token": pace,
            "replicas": _REPLICAS,
            "full": asdict(full),
            "night": asdict(night),
            "share_of_model_time": round(night.model_s / full.model_s, 4),
            "share_of_wall_time": round(night.seconds / full.seconds, 4),
        }

    found: dict[str, Any] = in_folder(work)
    return found


def main(
    rows: Annotated[int, typer.Option(min=1_000, help="Of each night that is matched.")] = 100_000,
    ranked: Annotated[int, typer.Option(min=1_000, help="Of each night that is run.")] = 50_000,
    documents: Annotated[int, typer.Option(min=100_000, help="Of the corpus.")] = 200_000,
    churn: Annotated[float, typer.Option(min=0, max=1, help="Documents that change.")] = 0.05,
    pace: Annotated[float, typer.Option(min=0, help="Seconds per token, asleep.")] = 2.5e-5,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    matched = matching(rows, documents, churn)
    typer.echo(
        f"matching: {matched['now']:,} rows against {matched['before']:,}, "
        f"{matched['reused']:,} reused, {matched['seconds']:,} s "
        f"({matched['rows_per_s']:,} rows/s of both)  peak {matched['peak_mib']:,} MiB, largest "
        f"process {matched['peak_process_mib']:,} MiB, driver {matched['driver_mib']:,} MiB"
    )
    nights = end_to_end(ranked, documents, churn, pace)
    full, night = nights["full"], nights["night"]
    typer.echo(
        f"end to end: {night['rows']:,} rows, {night['reused']:,} reused; model "
        f"{night['model_s']:,} s of {full['model_s']:,} s ({nights['share_of_model_time']:.1%}), "
        f"wall {night['seconds']:,} s of {full['seconds']:,} s "
        f"({nights['share_of_wall_time']:.1%}), {night['table_s']:,} s of it the table"
    )
    if write:
        command = f"python -m benchmarks.refresh --rows {rows} --ranked {ranked} --churn {churn}"
        result = {
            "command": f"{command} --documents {documents} --pace {pace} --write",
            "device": "CPU",
            "machine": machine(),
            "matching": matched,
            "end_to_end": nights,
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
