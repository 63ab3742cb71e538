"""The stages as workers run them: marked, limited in time, measured, and never a bare exception."""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa

from pipeline import failpoints
from pipeline.errors import RerankError
from pipeline.execution.runs.attempts import MOST, MarkedUnitError, WorkersKilledError, attempt
from pipeline.execution.runs.holder import may_begin
from pipeline.execution.units import rows, stages
from pipeline.execution.units.admission import Admission
from pipeline.execution.units.model_code import ModelCodeError
from pipeline.execution.units.stages import Job
from pipeline.execution.units.time_limits import time_limit
from pipeline.storage import counters
from pipeline.storage.policy import set_retry_policy

ENCODE, SCORE, COMMIT = "encode", "score", "commit"


def encode_unit(batch: pa.Table, *, job: Job) -> pa.Table:
    """``id`` [1], a place in ``job.units`` -> the unit's lists and sequences.

    A unit of which nothing is left to be scored is committed here, so that no replica waits for it.
    """
    number = batch.column("id")[0].as_py()
    unit = job.units[number].name
    encoded = run_stage(ENCODE, unit, lambda: stages.encode(stages.read(number, job), job), job)
    if rows.is_final(encoded) or not stages.nothing_to_score(encoded):
        return encoded
    return commit_unit(encoded, job=job)


def score_unit(
    batch: pa.Table, work: Callable[[pa.Table], pa.Table], *, job: Job, admission: Admission
) -> pa.Table:
    """An encoded unit -> the same row with readouts, which ``work`` makes."""
    if rows.is_final(batch):
        return batch
    return run_stage(SCORE, rows.unit_of(batch), lambda: work(batch), job, batch, admission)


def commit_unit(batch: pa.Table, *, job: Job) -> pa.Table:
    """A scored unit -> its status, once its files are written."""
    if rows.is_final(batch):
        return batch
    return run_stage(COMMIT, rows.unit_of(batch), lambda: stages.commit(batch, job), job, batch)


def run_stage(
    name: str,
    unit: str,
    work: Callable[[], pa.Table],
    job: Job,
    batch: pa.Table | None = None,
    admission: Admission | None = None,
) -> pa.Table:
    """Run one stage of one unit.

    Args:
        name: the stage.
        unit: the unit's name.
        work: does it.
        job: the job.
        batch: the row that earlier stages made of the unit.
        admission: to a process that works on several units; None where it works on this one only.

    Returns:
        What ``work`` returns with the stage's seconds and store events noted; or a status row when
        the unit is not begun because the driver stops, when it crashes its workers or makes the
        model raise, or when ``work`` raised an error of ours; with the store events alone.
    """
    set_retry_policy(job.config.storage)
    admission = admission or Admission()
    waited_s = 0.0 if batch is None else rows.waited_s(batch)
    # A thread's clock leaves out other units, and with them the threads that compute on a CPU.
    cpu_clock = time.process_time if admission.slots == 1 else time.thread_time
    wall, cpu = time.perf_counter(), cpu_clock()
    try:
        done = _admitted(name, unit, work, job, admission)
        if done is None:
            return _ended(rows.skipped(unit), batch)
    except WorkersKilledError as error:
        return _ended(rows.suspected(unit, failures=MOST, stderr_tail=str(error)), batch)
    except ModelCodeError as error:
        return _ended(rows.suspected(unit, failures=1, stderr_tail=str(error)), batch)
    except RerankError as error:
        return _ended(rows.failed(error), batch)
    noted: rows.Statistics = {
        rows.SECONDS: {name: time.perf_counter() - wall},
        rows.CPU_SECONDS: {name: cpu_clock() - cpu},
        rows.WAITED: {name: waited_s},
    }
    done = rows.with_statistics(done, noted | store_events_here())
    return done if rows.is_final(done) else rows.leaving(done)


def _admitted(
    name: str, unit: str, work: Callable[[], pa.Table], job: Job, admission: Admission
) -> pa.Table | None:
    """As :func:`_attempted`, beside other units unless this one may be what kills workers."""
    try:
        with admission.beside_others():
            return _attempted(name, unit, work, job, admission.slots)
    except MarkedUnitError:
        with admission.alone():
            return _attempted(name, unit, work, job, 1)


def _attempted(
    name: str, unit: str, work: Callable[[], pa.Table], job: Job, together: int
) -> pa.Table | None:
    """What ``work`` returns, with the marks around it; None where no unit may be begun any more.

    Args:
        name: the stage.
        unit: the unit's name.
        work: does it.
        job: the job.
        together: units that this process may be working on. They wait for one another, so each has
            the time of all.
    """
    # What is scored already is written even when the driver stops: that is less work lost.
    if name != COMMIT and not may_begin(job.folder, job.epoch):
        return None
    limit_s = job.config.units.time_limit_s * together
    with attempt(job.folder, unit, name, alone=together == 1), time_limit(limit_s):
        failpoints.reached("unit.begun")
        return work()


def store_events_here() -> rows.Statistics:
    """What happened between this process and its stores since last asked.

    Of a process that works on several units whoever asks first gets what happened to all, so that
    sums over units are right.
    """
    return {rows.STORAGE: dict(counters.take())}


def _ended(ending: pa.Table, batch: pa.Table | None) -> pa.Table:
    """A status row with the store events of every stage so far, which happened all the same."""
    earlier = {} if batch is None else rows.store_events(rows.statistics(batch))
    return rows.with_statistics(ending, rows.added(earlier, store_events_here()))
