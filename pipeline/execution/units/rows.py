"""Rows that travel between the stages: a unit at work, or one small status of what became of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline import errors, schema
from pipeline.errors import RerankError
from pipeline.plain_text import redacted

#: Columns of status rows. The last four say, each by being there, what became of a unit.
STATS: Final = "stats"
COUNTS: Final = "counts"
ERROR: Final = "error"
SUSPECT: Final = "suspect"
SKIPPED: Final = "skipped"

#: Sections of a row's statistics: wall and CPU seconds by stage, the engine's totals, what happened
#: between workers and stores, what became of the unit's scores and files, and how far a quantised
#: engine agrees with the reference.
SECONDS: Final = "seconds"
CPU_SECONDS: Final = "cpu_seconds"
ENGINE: Final = "engine"
STORAGE: Final = "storage"
UNIT_EVENTS: Final = "unit_events"
AGREEMENT: Final = "agreement"

#: Section and name of the number of documents that the model scores of a unit.
SCOREABLE: Final = "scoreable"
DOCUMENTS: Final = "documents"

#: Sections for the run's report, see :mod:`pipeline.execution.unit_notes`: seconds of the parts of
#: a stage, seconds that a unit waited for a stage, its sequences by length, and its documents that
#: the family says it cut.
PARTS: Final = "parts"
WAITED: Final = "waited"
LENGTHS: Final = "lengths"
TRUNCATION: Final = "truncation"

#: The column that says when a unit left a stage, by :func:`time.time`.
LEFT: Final = "left_at"

#: Sections with a number for the replica that scored the unit, see :mod:`.device_time`.
BEGAN: Final = "began"
ENDED: Final = "ended"
BUSY: Final = "busy"

#: Sections that are of a replica, not of its units, and are never added up, see
#: :mod:`.replica_notes`.
REPLICA: Final = "replica"
KERNELS: Final = "kernels"
REFUSALS: Final = "refusals"
READY: Final = "ready"
LOAD_S: Final = "load_s"
TOKEN_BUDGET: Final = "token_budget"
COMPILATIONS: Final = "compilations"

#: Numbers by section and name.
Statistics = dict[str, dict[str, float]]

_FINAL: Final = frozenset({COUNTS, ERROR, SUSPECT, SKIPPED})


@dataclass(frozen=True)
class SuspectUnit:
    """A unit that failed in a way that its queries may be to blame for.

    Attributes:
        unit: its name.
        failures: workers that it killed, or times that the model raised.
        stderr_tail: the end of what the last one wrote to standard error, or of the traceback.
    """

    unit: str
    failures: int
    stderr_tail: str


def row(values: dict[str, object]) -> pa.Table:
    """A table of one row; bytes become large_binary."""
    arrays = {
        name: _binary(value) if isinstance(value, bytes) else pa.array([value])
        for name, value in values.items()
    }
    return pa.table(arrays)


def append(batch: pa.Table, name: str, value: bytes) -> pa.Table:
    """The row with one more column."""
    return batch.append_column(name, _binary(value))


def _binary(value: bytes) -> pa.Array:
    """large_binary [1] that holds the very bytes, not a copy: they are a unit's texts or tokens."""
    ends = pa.py_buffer(np.array([0, len(value)], dtype=np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(value)])


def is_final(batch: pa.Table) -> bool:
    """Whether this is a status row, which later stages pass on."""
    return not _FINAL.isdisjoint(batch.column_names)


def committed(counts: str, stats: Statistics) -> pa.Table:
    """The row of a unit whose files are written."""
    return row({COUNTS: counts, STATS: json.dumps(stats)})


def failed(error: RerankError) -> pa.Table:
    """The row of a unit that stops the run.

    Ray Data re-raises a worker's exception as text; the driver needs its class, for the exit code:
    the nearest one of :mod:`pipeline.errors`.
    """
    known = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return row({ERROR: json.dumps([known.__name__, str(error)])})


def suspected(unit: str, *, failures: int, stderr_tail: str) -> pa.Table:
    """The row of a unit that crashed its workers, or made the model raise."""
    suspect = SuspectUnit(unit, failures, redacted(stderr_tail))
    return row({SUSPECT: json.dumps(asdict(suspect))})


def suspect_unit(batch: pa.Table) -> SuspectUnit | None:
    """What a suspected row says; None for any other row."""
    if SUSPECT not in batch.column_names:
        return None
    return SuspectUnit(**json.loads(batch.column(SUSPECT)[0].as_py()))


def skipped(unit: str) -> pa.Table:
    """The row of a unit that was not begun because its driver stops or was replaced."""
    return row({SKIPPED: unit})


def statistics(batch: pa.Table) -> Statistics:
    """What the stages so far noted about a unit."""
    if STATS not in batch.column_names:
        return {}
    found: Statistics = json.loads(batch.column(STATS)[0].as_py())
    return found


def with_statistics(batch: pa.Table, more: Statistics) -> pa.Table:
    """The row with further numbers; those that are there already are added to."""
    merged = added(statistics(batch), more)
    rest = batch.drop_columns([STATS]) if STATS in batch.column_names else batch
    return rest.append_column(STATS, pa.array([json.dumps(merged)]))


def leaving(batch: pa.Table) -> pa.Table:
    """The row with the time at which it leaves a stage."""
    rest = batch.drop_columns([LEFT]) if LEFT in batch.column_names else batch
    return rest.append_column(LEFT, pa.array([time.time()]))


def waited_s(batch: pa.Table) -> float:
    """Seconds since a row left the stage before; 0 where there was none.

    The stages of a unit may be on two machines, whose clocks differ by what their time service
    allows; a wait that came out below zero is none.
    """
    if LEFT not in batch.column_names:
        return 0.0
    return max(0.0, time.time() - float(batch.column(LEFT)[0].as_py()))


def added(left: Statistics, right: Statistics) -> Statistics:
    """The sums, number by number."""
    total = {section: dict(numbers) for section, numbers in left.items()}
    for section, numbers in right.items():
        sums = total.setdefault(section, {})
        for name, number in numbers.items():
            sums[name] = sums.get(name, 0) + number
    return total


def store_events(noted: Statistics) -> Statistics:
    """What happened between workers and stores, without the rest of a row's statistics."""
    return {STORAGE: noted.get(STORAGE, {})}


def unit_of(batch: pa.Table) -> str:
    """Name of the unit of a row that is at work."""
    return str(batch.column(schema.UNIT)[0].as_py())


def scoreable(batch: pa.Table) -> int:
    """Documents of an encoded row that get a score from the model."""
    return int(statistics(batch).get(SCOREABLE, {}).get(DOCUMENTS, 0))


def raise_if_failed(found: dict[str, Any]) -> None:
    """Raise again, in the driver, what a worker raised."""
    if found.get(ERROR) is not None:
        name, message = json.loads(found[ERROR])
        raise getattr(errors, name, errors.RunFailedError)(message)
