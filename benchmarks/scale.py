"""What a run of very many units asks of its driver and its store, with replicas that do not score.

::

    python -m benchmarks.scale --units 20000 --units 200000 --units 1000000 --write
    python -m benchmarks.scale --plan 1000000000

Each size runs in a process of its own: half of the units are committed, the session ends, its
status is asked for, a second session resumes, commits the rest, checks, publishes; then its status
is asked for and its files are checked. All that the driver does is the product's own; replicas are
stubs that leave what a worker leaves (marks, a unit's file), and the store
(:mod:`benchmarks.scale_store`) answers at once.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine
from benchmarks.scale_picture import draw
from benchmarks.scale_store import PRICES, CountingStore, StubUnits
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.planning import Plan, Unit, plan_units
from pipeline.config import JobConfig
from pipeline.errors import RunFailedError
from pipeline.execution import run as runs
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.runs import attempts, holder
from pipeline.execution.runs.run_files import plan_bytes
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from pipeline.execution.runs.unit_files import put_file
from pipeline.execution.runs.verification import audit
from pipeline.execution.scoring import _stream
from pipeline.execution.session import Session
from pipeline.execution.units import rows
from pipeline.storage import places

_RESULT: Final = Path(__file__).parent / "results" / "scale.json"
_ROOT: Final = "s3://scale/out"

#: Documents and queries of a unit: 200,000 such units hold a billion candidates.
_DOCUMENTS: Final = 5_000
_QUERIES: Final = 50

#: A synthetic file of the input: row groups, and rows of each.
_GROUPS, _ROWS = 100, 100_000


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        name: what it does.
        seconds: wall time.
        cpu_s: of the process, without that of stub replicas.
        peak_mib: highest resident set while it ran, all that the process held before included.
        requests: by kind, those of stub replicas included.
        worker_requests: those of stub replicas.
    """

    name: str
    seconds: float
    cpu_s: float
    peak_mib: float
    requests: dict[str, int]
    worker_requests: dict[str, int]


class Meter:
    """Measures steps; a step within another one counts in both."""

    def __init__(self, requests: Counter[str]) -> None:
        self.steps: list[Step] = []
        self.workers: Counter[str] = Counter()
        self.worker_cpu_s = 0.0
        self._requests = requests
        self._peaks: list[float] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the body."""
        gc.collect()
        self._peaks = [max(peak, _peak_mib()) for peak in self._peaks] + [0.0]
        _reset_peak()
        began = time.perf_counter(), time.process_time() - self.worker_cpu_s
        before, workers = self._requests.copy(), self.workers.copy()
        try:
            yield
        finally:
            peak = max(self._peaks.pop(), _peak_mib())
            self._peaks = [max(outer, peak) for outer in self._peaks]
            self.steps.append(
                Step(
                    name=name,
                    seconds=round(time.perf_counter() - began[0], 2),
                    cpu_s=round(time.process_time() - self.worker_cpu_s - began[1], 2),
                    peak_mib=peak,
                    requests=dict(self._requests - before),
                    worker_requests=dict(self.workers - workers),
                )
            )

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Leave the body, which a worker would do, out of the driver's CPU time."""
        began, before = time.thread_time(), self._requests.copy()
        try:
            yield
        finally:
            self.worker_cpu_s += time.thread_time() - began
            self.workers += self._requests - before

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work``, measured as a step of its own whenever it is called."""

        def measured(*arguments: Any, **named: Any) -> Any:
            with self.step(name):
                return work(*arguments, **named)

        return measured


def synthetic(candidates: int, opened: Input) -> Input:
    """An input of so many candidates by its footers, which are made up; no file is there."""
    [like] = opened.files
    size = _GROUPS * _ROWS
    files = [
        replace(
            like,
            identity=replace(like.identity, path=f"{_ROOT}/in/part-{number:06}.parquet"),
            first=number * size,
            row_groups=(_ROWS,) * _GROUPS,
            documents=(_ROWS,) * _GROUPS,
            ids=(),
        )
        for number in range(-(-candidates // size))
    ]
    last: InputFile = files[-1]
    rest = candidates - last.first
    groups = tuple(min(_ROWS, rest - at) for at in range(0, rest, _ROWS))
    files[-1] = replace(last, row_groups=groups, documents=groups)
    return replace(opened, files=tuple(files))


def plan_of(folder: str, candidates: int) -> list[Step]:
    """Plan an input of so many candidates, write the plan and read it back."""
    meter = Meter(Counter())
    prepared = _prepared(folder)
    with meter.step("footers, made up"):
        source = synthetic(candidates, prepared.source)
    with meter.step("plan"):
        plan = plan_units(source, documents=_DOCUMENTS, fingerprint=prepared.plan.fingerprint)
    with meter.step("plan.parquet, written"):
        data = plan_bytes(plan)
    with meter.step("plan.parquet, read"):
        table = pq.read_table(pa.BufferReader(data))
        again = Plan.from_table(table, run_id=plan.run_id, fingerprint=plan.fingerprint)
    assert again == plan
    typer.echo(f"{len(plan.units):,} units, plan.parquet {len(data) / 2**20:,.0f} MiB")
    return meter.steps


def run_of(folder: str, units: int) -> list[Step]:
    """Two sessions of a run of so many units, its status, and its check."""
    logging.getLogger("pipeline").setLevel(logging.ERROR)
    prepared = _prepared(folder)
    held = CountingStore(Path(folder, "objects"))
    places._backend = lambda kind: held  # type: ignore[assignment]
    meter = Meter(held.requests)
    with meter.step("plan"):
        source = synthetic(units * _DOCUMENTS, prepared.source)
        plan = plan_units(source, documents=_DOCUMENTS, fingerprint=prepared.plan.fingerprint)
        run = RunFolder(f"{_ROOT}/{plan.run_id}")
        prepared = replace(prepared, source=source, plan=plan, folder=run)
    stubs = StubUnits(plan.run_id, queries=_QUERIES, documents=_DOCUMENTS)

    def score(session: Session, todo: Sequence[Unit]) -> None:
        with meter.step("units committed"):
            coming = _stub_rows(session, todo, stubs, meter)
            _stream(session, coming)
            if len(todo) == units:
                raise RunFailedError("half of the units are there")

    for name, words in (("check_units", "check"), ("publish", "publish")):
        setattr(runs, name, meter.timed(words, getattr(runs, name)))
    setattr(runs, "score", score)  # noqa: B010
    with meter.step("first session"):
        try:
            runs.execute(prepared)
        except RunFailedError as error:
            assert "half" in str(error), error
    with meter.step("status of half"):
        assert run_state(run)["units_committed"] == units // 2
    with meter.step("second session"):
        outcome = runs.execute(prepared)
    assert outcome.manifest["documents"] == plan.documents
    del outcome
    with meter.step("status"):
        assert run_state(run)["finished"]
    with meter.step("status --check"):
        assert audit(run) == []
    return meter.steps


def _stub_rows(
    session: Session, todo: Sequence[Unit], stubs: StubUnits, meter: Meter
) -> Iterator[dict[str, Any]]:
    """What workers leave in the store and tell the driver; of a whole plan, of its first half."""
    folder, epoch = session.prepared.folder, session.lease.epoch
    half = len(todo) // 2 if len(todo) == len(session.prepared.plan.units) else len(todo)
    stats = json.dumps({rows.SECONDS: {"score": 10.0}, rows.CPU_SECONDS: {"score": 9.0}})
    for unit in todo[:half]:
        with meter.worker():
            for stage in ("encode", "score", "commit"):
                assert stage == "commit" or holder.may_begin(folder.path, epoch)
                with attempts.attempt(folder.path, unit.name, stage):
                    if stage == "commit":
                        data, counts = stubs.file(unit.name)
                        put_file(folder.ranked(unit.name), data, cas=True)
        yield {rows.STATS: stats, rows.COUNTS: counts}


def _prepared(folder: str) -> Prepared:
    """A job whose input is one row; what is large is put in its place."""
    path = Path(folder, "in.parquet")
    names = ("query_id", "query", "doc_id", "text")
    pq.write_table(pa.table({name: ["a"] for name in names}), path)
    given: dict[str, Any] = {
        "model": {"name": "lexical"}, "input": {"path": str(path)},
        "output": {"path": str(Path(folder, "out"))}, "units": {"documents": _DOCUMENTS},
        "ray": {"mode": "in_process"},
    }  # fmt: skip
    return prepare(JobConfig.model_validate(given))


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return round(int(line.split()[1]) / 1024, 1)


def _print(steps: Sequence[Step]) -> None:
    for one in steps:
        asked = ", ".join(f"{n:,} {kind}" for kind, n in sorted(one.requests.items()) if n)
        typer.echo(
            f"  {one.name:<22} {one.seconds:>8.2f} s {one.cpu_s:>8.2f} CPU s "
            f"{one.peak_mib:>7,.0f} MiB  {asked}"
        )


def _cost(steps: Sequence[Step], *names: str) -> float:
    """US dollars of the requests of some steps."""
    return sum(
        PRICES[kind] / 1_000 * number
        for one in steps if one.name in names
        for kind, number in one.requests.items()
    )  # fmt: skip


def main(
    units: Annotated[list[int] | None, typer.Option(help="Units of a run; repeatable.")] = None,
    plan: Annotated[list[int] | None, typer.Option(help="Candidates to plan; repeatable.")] = None,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    spawn = multiprocessing.get_context("spawn")
    result: dict[str, Any] = {"plans": {}, "runs": {}}
    if write and _RESULT.exists():  # sizes that were measured before stay
        result |= json.loads(_RESULT.read_text(encoding="utf-8"))
    result["machine"] = machine()
    for kind, work, sizes in (("plans", plan_of, plan or ()), ("runs", run_of, units or ())):
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder, spawn.Pool(1) as pool:
                steps = pool.apply(work, (folder, size))
            typer.echo(f"{kind[:-1]} of {size:,}")
            _print(steps)
            if kind == "runs":
                dollars = _cost(steps, "first session", "second session")
                typer.echo(f"  requests of the run: {dollars:.2f} US dollars")
            result[kind][str(size)] = [asdict(one) for one in steps]
            if write:  # after each: the next may take an hour
                _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if write:
        draw(result["runs"], _RESULT.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(main)
