"""Rows per second and peak memory of the whole graph with a scorer that costs almost nothing.

::

    python -m benchmarks.lexical_throughput
    python -m benchmarks.lexical_throughput --rows 200000 --rows 1000000 --write

What is left when the model is cheap is our own overhead: reading, Arrow, the object store, ranking,
writing. Memory is the unique set size of this process and every process below it (Ray's among
them) plus what lies in shared memory, sampled every half second: it must not grow with the input.
"""

from __future__ import annotations

import json
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute

_CANDIDATES = 100
_WORDS = 70
_RESULT = Path(__file__).parent / "results" / "lexical_throughput.json"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run.

    Attributes:
        rows: candidates ranked.
        seconds: from planning to publication, Ray's start included.
        rows_per_s: their ratio.
        peak_mib: highest sum of unique set sizes and shared memory, less what was there before.
        peak_process_mib: highest unique set size of one process.
    """

    rows: int
    seconds: float
    rows_per_s: float
    peak_mib: float
    peak_process_mib: float


def write_input(folder: Path, rows: int) -> None:
    """Deterministic candidate lists: 100 documents of about 70 words per query."""
    chance = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(5_000)])
    per_file = 50_000
    for first in range(0, rows, per_file):
        count = min(per_file, rows - first)
        queries = np.arange(first, first + count) // _CANDIDATES
        texts = [" ".join(line) for line in words[chance.integers(0, 5_000, (count, _WORDS))]]
        asked = {q: " ".join(words[chance.integers(0, 5_000, 6)]) for q in np.unique(queries)}
        table = pa.table(
            {
                "query_id": pa.array(queries),
                "query": [asked[q] for q in queries],
                "doc_id": pa.array(np.arange(first, first + count)),
                "text": texts,
            }
        )
        pq.write_table(table, folder / f"part-{first:09d}.parquet", row_group_size=10_000)


def measure(rows: int, *, replicas: int) -> Measurement:
    """Rank ``rows`` candidates through a fresh local Ray."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "in")
        source.mkdir()
        write_input(source, rows)
        config = JobConfig.model_validate(
            {
                "model": {"name": "lexical"},
                "input": {"path": str(source)},
                "output": {"path": str(Path(temporary, "out"))},
                "units": {"documents": 10_000},
                "replicas": {"min": replicas, "num_cpus": 1},
                "progress": {"interval_s": 3600},
            }
        )
        with sampled() as peak:
            started = time.monotonic()
            outcome = execute(prepare(config))
            seconds = time.monotonic() - started
        assert outcome.manifest["documents"] == rows, outcome.manifest
        return Measurement(
            rows=rows,
            seconds=round(seconds, 1),
            rows_per_s=round(rows / seconds),
            peak_mib=round(peak["total"]),
            peak_process_mib=round(peak["process"]),
        )


@contextmanager
def sampled() -> Iterator[dict[str, float]]:
    """Highest memory in MiB while the body runs: of all processes (total), and of one (process)."""
    peak = {"total": 0.0, "process": 0.0}
    stop = threading.Event()
    shared_before = _shared_mib()

    def sample() -> None:
        own = psutil.Process()
        while not stop.wait(0.5):
            sizes = [_unique_mib(process) for process in [own, *own.children(recursive=True)]]
            total = sum(sizes) + _shared_mib() - shared_before
            peak["total"] = max(peak["total"], total)
            peak["process"] = max(peak["process"], *sizes)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def _unique_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / 2**20
    except psutil.Error:
        return 0.0


def _shared_mib() -> float:
    return float(psutil.disk_usage("/dev/shm").used) / 2**20


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "logical_cpus": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("ray", "pyarrow", "numpy")},
    }


def main(
    rows: Annotated[list[int] | None, typer.Option(help="Rows of one run; repeatable.")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="Replicas of the scorer.")] = 1,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Measure, print, and with --write record."""
    found = [measure(count, replicas=replicas) for count in rows or [200_000]]
    for one in found:
        typer.echo(
            f"{one.rows:>9,} rows  {one.seconds:>7,.1f} s  {one.rows_per_s:>7,} rows/s  "
            f"peak {one.peak_mib:,.0f} MiB, largest process {one.peak_process_mib:,.0f} MiB (CPU)"
        )
    if write:
        command = "python -m benchmarks.lexical_throughput " + " ".join(
            [*(f"--rows {one.rows}" for one in found), f"--replicas {replicas} --write"]
        )
        result = {
            "command": command,
            "device": "CPU",
            "machine": machine(),
            "replicas": replicas,
            "runs": [asdict(one) for one in found],
        }
        _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
