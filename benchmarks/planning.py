"""Time and memory to plan a large run and to see what of it is done.

::

    python -m benchmarks.planning
    python -m benchmarks.planning --units 100000 --write

The input is real (a hundred Parquet files, of which footers are read); of the output only the names
exist, which is all that a listing looks at. The steps run in a process of their own, so that its
peak memory is not that of writing the input.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks.lexical_throughput import machine
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare

_FILES = 100
_PER_UNIT = 100
_RESULT = Path(__file__).parent / "results" / "planning.json"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: what it does.
        seconds: wall time.
        cpu_s: CPU time of the process, all threads.
    """

    name: str
    seconds: float
    cpu_s: float


@dataclass(frozen=True, kw_only=True)
class Planning:
    """All steps of a resumed run before its first unit.

    Attributes:
        units: in the plan.
        rows: of the input.
        steps: in order.
        peak_mib: highest resident set of the process, libraries included.
    """

    units: int
    rows: int
    steps: tuple[Step, ...]
    peak_mib: float


def write_input(folder: Path, units: int) -> None:
    """A hundred files, a row group per ten units; every list has a hundred documents."""
    rows = -(-units // _FILES) * _PER_UNIT
    text = pa.array(np.zeros(rows, np.int32))
    words = pa.DictionaryArray.from_arrays(text, ["a text that all documents share"])
    for file in range(_FILES):
        numbers = np.arange(file * rows, (file + 1) * rows)
        table = pa.table(
            {
                "query_id": numbers // _PER_UNIT,
                "query": words.cast(pa.string()),
                "doc_id": numbers,
                "text": words.cast(pa.string()),
            }
        )
        pq.write_table(table, folder / f"part-{file:03d}.parquet", row_group_size=10 * _PER_UNIT)


def measure(folder: str) -> Planning:
    """Plan the run, write and read its plan, list what is committed, find what is missing."""
    config = JobConfig.model_validate(
        {
            "model": {"name": "lexical"},
            "input": {"path": str(Path(folder, "in"))},
            "output": {"path": str(Path(folder, "out"))},
            "units": {"documents": _PER_UNIT},
        }
    )
    steps: list[Step] = []

    def step(name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        steps.append(
            Step(
                name=name,
                seconds=round(time.perf_counter() - wall, 2),
                cpu_s=round(time.process_time() - cpu, 2),
            )
        )
        return found

    prepared = step("plan", lambda: prepare(config))
    run, plan = prepared.folder, prepared.plan
    step("write the plan", lambda: run.start(plan, prepared.description()))
    step("read the plan", run.plan)
    _pretend_committed(Path(run.path), [unit.name for unit in plan.units[:-1]])
    committed = set(step("list the committed units", run.committed))
    missing = [unit for unit in plan.units if unit.name not in committed]
    assert len(missing) == 1, len(missing)
    return Planning(
        units=len(plan.units),
        rows=prepared.source.rows,
        steps=tuple(steps),
        peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _pretend_committed(run: Path, units: list[str]) -> None:
    ranked = run / "ranked"
    ranked.mkdir()
    for unit in units:
        (ranked / f"unit-{unit}.parquet").touch()


def main(
    units: Annotated[int, typer.Option(min=_FILES, help="Units of the plan.")] = 100_000,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            pool.apply(write_input, (source, units))
        with spawn.Pool(1) as pool:
            found = pool.apply(measure, (folder,))
    for one in found.steps:
        typer.echo(f"{one.name:<26} {one.seconds:>6.2f} s  {one.cpu_s:>6.2f} CPU s")
    total = sum(one.cpu_s for one in found.steps)
    typer.echo(
        f"{found.units:,} units over {found.rows:,} rows: {total:.2f} CPU s, "
        f"peak {found.peak_mib:,.0f} MiB"
    )
    if write:
        result: dict[str, Any] = {
            "command": f"python -m benchmarks.planning --units {units} --write",
            "machine": machine(),
            **asdict(found),
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
