"""The same lists as a job through Ray, against the engine alone in this process.

A run has costs that a larger run does not have more of: Ray's start, workers, the model. So it is
timed between the first and the last file that it writes, over the documents of all files but the
first: that is the pace that a long run keeps. The engine alone scores the same units, encoded
before the clock starts, since in a run encoding goes on beside it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.bench.preparing import Prepared, units_of_run
from pipeline.bench.results import EndToEnd
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run's files by the time at which each was there, and what its report says."""

    seconds: float
    written: list[tuple[float, int]]
    busy_s: float

    @property
    def window_s(self) -> float:
        return self.written[-1][0] - self.written[0][0]

    @property
    def documents_in_window(self) -> int:
        return sum(rows for _, rows in self.written[1:])


def through_ray(prepared: Prepared) -> EndToEnd:
    """Run the workload as a job on a local Ray with one replica of as many threads as torch has.

    Raises:
        ConfigurationError: see :func:`~pipeline.bench.preparing.units_of_run`.
    """
    import torch

    threads, documents = torch.get_num_threads(), prepared.work.documents
    units = units_of_run(prepared)
    # As large as the largest group, none of which is then cut once more.
    most = max(unit.documents.num_rows for unit in units)
    before = _alone(prepared, units)
    with tempfile.TemporaryDirectory() as temporary:
        run = _run(prepared, units, Path(temporary), most, threads)
    alone = documents / ((before + _alone(prepared, units)) / 2)
    steady = run.documents_in_window / run.window_s
    busy_s = run.busy_s * run.documents_in_window / documents
    return EndToEnd(
        documents_per_s=steady,
        engine_documents_per_s=alone,
        ratio=steady / alone,
        starved=max(0.0, 1 - busy_s / run.window_s) if busy_s else None,
        files=len(run.written),
        window_s=run.window_s,
        documents_in_window=run.documents_in_window,
        run_s=run.seconds,
        unit_documents=most,
        replica_threads=threads,
    )


def _run(
    prepared: Prepared, units: list[CandidateLists], folder: Path, documents: int, threads: int
) -> _Run:
    source = folder / "in.parquet"
    # Row groups are where an input may be cut into units.
    group = max(1, len(units[0]))
    pq.write_table(_nested(prepared.work.lists), source, row_group_size=group)
    config = _job(prepared, source, folder / "out", documents, threads)
    started = time.perf_counter()
    outcome = execute(prepare(config))
    seconds = time.perf_counter() - started
    written = sorted(
        (path.stat().st_mtime, pq.read_metadata(path).num_rows)
        for path in Path(outcome.folder, "ranked").glob("*.parquet")
    )
    report = RunFolder(outcome.folder).report()
    busy_s = float(report.get("engine", {}).get("device_s", 0.0))
    return _Run(seconds=seconds, written=written, busy_s=busy_s)


def _alone(prepared: Prepared, units: list[CandidateLists]) -> float:
    """Seconds that the engine takes for all units, encoded before."""
    engine = prepared.engine
    encoded = [(lists, engine.reranker.encode(lists)) for lists in units]
    started = time.perf_counter()
    for lists, sequences in encoded:
        engine.engine.run(lists, sequences)
    return time.perf_counter() - started


def _nested(lists: CandidateLists) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(lists.to_ipc())) as reader:
        return reader.read_all()


def _job(prepared: Prepared, source: Path, output: Path, documents: int, threads: int) -> JobConfig:
    return JobConfig.model_validate(
        {
            "model": prepared.subject.model.model_dump(),
            "input": {"path": str(source)},
            "output": {"path": str(output)},
            "units": {"documents": documents},
            "engine": {
                "dtype": prepared.subject.dtype,
                "packing": "packed" if prepared.engine.name == "packed" else "padded",
            },
            "replicas": {"num_cpus": threads},
            "progress": {"interval_s": 3600},
        }
    )
