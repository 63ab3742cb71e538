"""Scored rows per second into a training set, and peak memory over all processes.

::

    python -m benchmarks.distillation
    python -m benchmarks.distillation --rows 200000 --rows 1000000 --write

A lexical run over generated lists is the teacher; only the distillation is measured: survey,
split, mining with a margin, duplicates and a cap per document, and the files of the set. Memory is
sampled as in ``benchmarks.lexical_throughput`` and must not grow with the input.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.lexical_throughput import machine, sampled, write_input
from pipeline.config import DistillConfig, JobConfig
from pipeline.distillation.preparation import prepare_distillation
from pipeline.distillation.run import distill
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

_RESULT = Path(__file__).parent / "results" / "distillation.json"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One distillation.

    Attributes:
        rows: scored candidates.
        queries: in the set.
        negatives: in the set.
        seconds: from opening the teacher to publication, Ray's start included.
        rows_per_s: their ratio.
        peak_mib: highest sum of unique set sizes and shared memory, less what was there before.
        peak_process_mib: highest unique set size of one process.
    """

    rows: int
    queries: int
    negatives: int
    seconds: float
    rows_per_s: float
    peak_mib: float
    peak_process_mib: float


def measure(rows: int) -> Measurement:
    """Distil ``rows`` scored candidates through a fresh local Ray."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "in")
        source.mkdir()
        write_input(source, rows)
        job = {
            "model": {"name": "lexical"},
            "input": {"path": str(source)},
            "output": {"path": str(Path(temporary, "runs"))},
            "units": {"documents": 10_000},
            "progress": {"interval_s": 3600},
        }
        teacher = execute(prepare(JobConfig.model_validate(job))).folder
        config = DistillConfig.model_validate(
            {
                "teachers": teacher,
                "output": {"path": str(Path(temporary, "sets"))},
                "negatives": {
                    "num_negatives": 8,
                    "relative_margin": 0.05,
                    "sampling_strategy": "random",
                    "max_per_document": 4,
                },
                "progress": {"interval_s": 3600},
            }
        )
        with sampled() as peak:
            started = time.monotonic()
            done = distill(prepare_distillation(config)).manifest
            seconds = time.monotonic() - started
        assert done["candidates"] == rows, done
        splits = done["splits"].values()
        return Measurement(
            rows=rows,
            queries=sum(one["queries"] for one in splits),
            negatives=sum(one["negatives"] for one in splits),
            seconds=round(seconds, 1),
            rows_per_s=round(rows / seconds),
            peak_mib=round(peak["total"]),
            peak_process_mib=round(peak["process"]),
        )


def main(
    rows: Annotated[list[int] | None, typer.Option(help="Rows of one set; repeatable.")] = None,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    found = [measure(count) for count in rows or [200_000]]
    for one in found:
        typer.echo(
            f"{one.rows:>9,} rows  {one.seconds:>7,.1f} s  {one.rows_per_s:>7,} rows/s  "
            f"peak {one.peak_mib:,.0f} MiB, largest process {one.peak_process_mib:,.0f} MiB (CPU)"
        )
    if write:
        counts = " ".join(f"--rows {one.rows}" for one in found)
        result = {
            "command": f"python -m benchmarks.distillation {counts} --write",
            "device": "CPU",
            "machine": machine(),
            "runs": [asdict(one) for one in found],
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
