"""The same lists as a job through Ray, against the engine alone in this process.

A run has costs that a larger run does not have more of: Ray's start, workers, the model. So it is
timed between the first and the last file that it writes, over the documents of all files but the
first: that is the pace that a long run keeps. The engine alone scores the same units, encoded
before the clock starts, since in a run encoding goes on beside it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from pipeline.benchmarking.preparing import Prepared
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.run_folder import RunFolder

#: Units that a run is cut into at least, where the lists allow: a pace needs some.
_UNITS: Final = 12


def through_ray(prepared: Prepared) -> dict[str, Any]:
    """Run the workload as a job on a local Ray with one replica.

    Returns:
        ``documents_per_s`` steady, ``engine_documents_per_s`` of the engine alone with as many
        threads, their ``ratio``, ``starved`` (share of the time between the first and the last
        file in which the replica computed nothing), and how they came about.
    """
    import torch

    threads = torch.get_num_threads()
    documents = min(prepared.bench.unit_documents, -(-prepared.work.documents // _UNITS))
    units = list(prepared.work.units(documents))
    before = _alone(prepared, units)
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary, "in.parquet")
        # Row groups are where an input may be cut into units.
        group = max(1, len(units[0]))
        pq.write_table(_nested(prepared.work.lists), source, row_group_size=group)
        # As large as the largest group, none of which is then cut once more.
        most = max(unit.documents.num_rows for unit in units)
        config = _job(prepared, source, Path(temporary, "out"), most, threads)
        started = time.perf_counter()
        outcome = execute(prepare(config))
        seconds = time.perf_counter() - started
        folder = RunFolder(outcome.folder)
        files = sorted(
            (path.stat().st_mtime, pq.read_metadata(path).num_rows)
            for path in Path(outcome.folder, "ranked").glob("*.parquet")
        )
        busy = float(folder.report().get("engine", {}).get("device_s", 0.0))
    after = _alone(prepared, units)
    window = files[-1][0] - files[0][0]
    counted = sum(rows for _, rows in files[1:])
    alone = prepared.work.documents / ((before + after) / 2)
    steady = counted / window
    share = counted / prepared.work.documents
    return {
        "documents_per_s": steady,
        "engine_documents_per_s": alone,
        "ratio": steady / alone,
        "starved": max(0.0, 1 - busy * share / window) if busy else None,
        "files": len(files),
        "window_s": window,
        "documents_in_window": counted,
        "run_s": seconds,
        "unit_documents": most,
        "replica_threads": threads,
    }


def _alone(prepared: Prepared, units: list[CandidateLists]) -> float:
    """Seconds that the engine takes for all units, encoded before."""
    base = prepared.base
    encoded = [(lists, base.reranker.encode(lists)) for lists in units]
    started = time.perf_counter()
    for lists, sequences in encoded:
        base.engine.run(lists, sequences)
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
                "packing": "packed" if prepared.base.name == "packed" else "padded",
            },
            "replicas": {"num_cpus": threads},
            "progress": {"interval_s": 3600},
        }
    )
