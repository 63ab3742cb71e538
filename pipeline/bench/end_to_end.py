"""The same lists as a job through Ray, against the engine alone in this process.

A run has costs that a larger run does not have more of: Ray's start, workers, the model. So it is
timed between the first and the last file that it writes, over the documents of all files but the
first: that is the pace that a long run keeps. The engine alone scores units as large as the run's,
encoded before the clock starts, since in a run encoding goes on beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from pipeline.bench.options import Device
from pipeline.bench.preparing import Prepared
from pipeline.bench.results import EndToEnd
from pipeline.bench.run_input import copies_of, lists_of_a_group, unit_documents, write_input
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.preparation import prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import RunFolder

#: Passes of the engine alone, before the run and after it: what takes a second is taken thrice.
_PASSES: Final[dict[Device, int]] = {"cpu": 1, "cuda": 3}


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run's files by the time at which each was there, and what its report says.

    Attributes:
        began: when its preparation began, as files' times are told.
        ended: when it was published.
        written: time and documents of each file, in order.
        report: of its session.
    """

    began: float
    ended: float
    written: list[tuple[float, int]]
    report: Mapping[str, Any]

    @property
    def window_s(self) -> float:
        return self.written[-1][0] - self.written[0][0]

    @property
    def documents(self) -> int:
        return sum(rows for _, rows in self.written)

    @property
    def documents_in_window(self) -> int:
        return self.documents - self.written[0][1]


def through_ray(prepared: Prepared) -> EndToEnd:
    """Run the workload as a job on a local Ray with one replica.

    The replica has the GPU, or as many CPU threads as torch has here.

    Raises:
        ConfigurationError: the run is cut into a single unit, or see
            :func:`~pipeline.bench.run_input.copies_of`.
    """
    options, work = prepared.options, prepared.work
    threads = 1 if options.device == "cuda" else _threads()
    copies = copies_of(options, work)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        asked = unit_documents(options, copies * work.documents)
        group = lists_of_a_group(work, asked)
        write_input(work, folder / "in", copies=copies, group=group)
        # As large as a row group, none of which is then cut once more.
        unit = None if asked is None else group * (work.documents // len(work.lists))
        job = _job(prepared, folder, unit, threads)
        largest = _largest_unit(job)
        units = list(work.units(min(largest, work.documents)))
        before = _alone(prepared, units)
        _make_room(options.device)
        run = _run(job)
    alone = 2 * work.documents / (before + _alone(prepared, units))
    steady = run.documents_in_window / run.window_s
    busy: float | None = run.report["device_busy"]
    return EndToEnd(
        documents_per_s=steady,
        engine_documents_per_s=alone,
        ratio=steady / alone,
        device_busy=busy,
        starved=None if busy is None else 1 - busy,
        documents=run.documents,
        files=len(run.written),
        first_file_s=run.written[0][0] - run.began,
        startup_s=dict(run.report["startup"]),
        window_s=run.window_s,
        documents_in_window=run.documents_in_window,
        run_s=run.ended - run.began,
        unit_documents=largest,
        replica_threads=threads,
    )


def _run(job: JobConfig) -> _Run:
    began = time.time()
    outcome = execute(prepare(job))
    ended = time.time()
    written = sorted(
        (path.stat().st_mtime, pq.read_metadata(path).num_rows)
        for path in Path(outcome.folder, "ranked").glob("*.parquet")
    )
    report = RunFolder(outcome.folder).report()
    return _Run(began=began, ended=ended, written=written, report=report)


def _largest_unit(job: JobConfig) -> int:
    """Documents of the largest unit that the run would have.

    Raises:
        ConfigurationError: there is only one, which has no time between a first and a last file.
    """
    units = prepare(job).plan.units
    if len(units) < 2:
        raise ConfigurationError(
            f"--end-to-end: the run's {units[0].documents:,} documents are a single unit, and a "
            "pace needs two or more; ask for more --run-documents or for fewer --unit-documents"
        )
    return max(unit.documents for unit in units)


def _alone(prepared: Prepared, units: list[CandidateLists]) -> float:
    """Seconds of a pass in which the engine takes all units, encoded before; the mean of some."""
    engine, kind = prepared.engine, prepared.options.device
    encoded = [(lists, engine.reranker.encode(lists)) for lists in units]

    def whole_pass() -> None:
        for lists, sequences in encoded:
            engine.engine.run(lists, sequences)

    if kind == "cuda":
        whole_pass()  # kernels and memory for units of this size
    started = time.perf_counter()
    for _ in range(_PASSES[kind]):
        whole_pass()
    return (time.perf_counter() - started) / _PASSES[kind]


def _make_room(kind: Device) -> None:
    """Leave the GPU to the run's replica, but for weights that are loaded here."""
    if kind == "cuda":
        import torch

        torch.cuda.empty_cache()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _job(prepared: Prepared, folder: Path, documents: int | None, threads: int) -> JobConfig:
    gpus = 1 if prepared.options.device == "cuda" else 0
    return JobConfig.model_validate(
        {
            "model": prepared.subject.model.model_dump(),
            "input": {"path": str(folder / "in")},
            "output": {"path": str(folder / "out")},
            "units": {} if documents is None else {"documents": documents},
            "engine": {
                "dtype": prepared.subject.dtype,
                "packing": "padded" if prepared.engine.name == "padded" else "packed",
            },
            "replicas": {"min": 1, "num_cpus": threads, "num_gpus": gpus},
            "ray": {"mode": "cluster"},
            "progress": {"interval_s": 3600},
        }
    )
