"""What a second replica brings, and what a million documents cost the driver.

::

    python -m benchmarks.scaling
    python -m benchmarks.scaling --units 120 --seconds 1.0 --documents 1000000 --write

Every unit costs the same time, asleep (benchmarks/fixed_cost.py), so that two CPUs are enough to
keep several replicas busy, and what is measured is how well the pipeline feeds them: units over the
time from the beginning of the first forward pass to the end of the last one, per replica. The
driver's CPU time is that of its whole process, Ray's threads included, from the plan to
publication, at no cost per token.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

_CANDIDATES = 50
_WORDS = 20
_FAMILY = "benchmarks.fixed_cost"
_ALLOWED = frozenset({_FAMILY})
_RESULT = Path(__file__).parent / "results" / "scaling.json"


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """One run with so many replicas.

    Attributes:
        replicas: of the model.
        units_per_s_per_replica: from the first forward pass to the end of the last one.
        busy: share of that time that the replicas slept, on average.
    """

    replicas: int
    units_per_s_per_replica: float
    busy: float


@dataclass(frozen=True, kw_only=True)
class DriverCost:
    """What the driver spent.

    Attributes:
        documents: ranked in the run.
        cpu_s: of the driver's process.
        cpu_s_per_million: their ratio.
    """

    documents: int
    cpu_s: float
    cpu_s_per_million: float


def write_input(folder: Path, rows: int) -> Path:
    """Lists of 50 equally long documents."""
    numbers = range(rows)
    table = pa.table(
        {
            "query_id": pa.array([n // _CANDIDATES for n in numbers]),
            "query": pa.array([f"query number {n // _CANDIDATES}" for n in numbers]),
            "doc_id": pa.array(numbers, pa.int64()),
            "text": pa.array([f"document {n} " + "word " * (_WORDS - 2) for n in numbers]),
        }
    )
    path = folder / "in.parquet"
    pq.write_table(table, path, row_group_size=10_000)
    return path


def job(folder: Path, source: Path, *, replicas: int, documents: int) -> JobConfig:
    """A job over ``source``."""
    return JobConfig.model_validate(
        {
            "model": {
                "family": _FAMILY,
                "settings": {"pace": str(folder / "pace"), "log": str(folder / "log")},
            },
            "input": {"path": str(source)},
            "output": {"path": str(folder / f"out-{replicas}-{documents}")},
            "units": {"documents": documents},
            "replicas": {"min": replicas, "num_cpus": 0.1},
            "ray": {"read_cpus": 0.5},
            "progress": {"interval_s": 3600},
        }
    )


def measure_scaling(replicas: int, *, units: int, seconds: float) -> Scaling:
    """Rank ``units`` units of ``seconds`` seconds each through a fresh local Ray."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokens = _CANDIDATES * (3 + 1 + _WORDS)
        (folder / "pace").write_text(str(seconds / tokens))
        source = write_input(folder, units * _CANDIDATES)
        measured = job(folder, source, replicas=replicas, documents=_CANDIDATES)
        execute(prepare(measured, allow_code=_ALLOWED))
        passes = [line.split() for line in (folder / "log").read_text().splitlines()]
    assert len(passes) == units, len(passes)
    assert len({process for process, _, _ in passes}) == replicas
    spans = [(float(began), float(ended)) for _, began, ended in passes]
    window = max(ended for _, ended in spans) - min(began for began, _ in spans)
    return Scaling(
        replicas=replicas,
        units_per_s_per_replica=round(units / window / replicas, 4),
        busy=round(sum(ended - began for began, ended in spans) / window / replicas, 4),
    )


def measure_driver(documents: int) -> DriverCost:
    """Rank ``documents`` documents in units of the default size, at no cost per token."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pace").write_text("0")
        source = write_input(folder, documents)
        before = time.process_time()
        measured = job(folder, source, replicas=1, documents=5_000)
        outcome = execute(prepare(measured, allow_code=_ALLOWED))
        spent = time.process_time() - before
    assert outcome.manifest["documents"] == documents, outcome.manifest
    return DriverCost(
        documents=documents,
        cpu_s=round(spent, 2),
        cpu_s_per_million=round(spent * 1e6 / documents, 2),
    )


def main(
    units: Annotated[int, typer.Option(min=20, help="Units of a run.")] = 120,
    seconds: Annotated[float, typer.Option(min=0.01, help="Sleep per unit.")] = 1.0,
    replicas: Annotated[
        list[int] | None, typer.Option(help="Replicas of one run; repeatable. Default: 1 and 2.")
    ] = None,
    documents: Annotated[
        int, typer.Option(min=50, help="Documents of the run that the driver's cost is taken from.")
    ] = 1_000_000,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    found = [measure_scaling(n, units=units, seconds=seconds) for n in replicas or [1, 2]]
    for one in found:
        relative = one.units_per_s_per_replica / found[0].units_per_s_per_replica
        typer.echo(
            f"{one.replicas} replicas  {one.units_per_s_per_replica:.3f} units/s per replica, "
            f"{relative:.3f} of {found[0].replicas}, busy {one.busy:.1%}"
        )
    driver = measure_driver(documents)
    typer.echo(
        f"driver      {driver.cpu_s:.1f} CPU s for {documents:,} documents, "
        f"{driver.cpu_s_per_million:.1f} per million"
    )
    if write:
        options = f"--units {units} --seconds {seconds} --documents {documents}"
        counts = "".join(f" --replicas {n}" for n in replicas or [])
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.scaling {options}{counts} --write",
            "device": "CPU",
            "machine": machine(),
            "scaling": [asdict(one) for one in found],
            "driver": asdict(driver),
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
