"""The actor that holds one replica of the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import pyarrow as pa

from pipeline import failpoints
from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import device_kind, device_name, use_threads
from pipeline.engine.engine import ScoredUnit
from pipeline.errors import RerankError
from pipeline.execution.units import rows, stages
from pipeline.execution.units.admission import Admission
from pipeline.execution.units.device_time import DeviceTime
from pipeline.execution.units.model_code import ModelCodeError, model_code
from pipeline.execution.units.replica_notes import notes_of
from pipeline.execution.units.replica_reports import ReplicaReporter, Send
from pipeline.execution.units.stages import Job, pack_readouts, reranker_of, unpack
from pipeline.execution.units.time_limits import time_limit
from pipeline.execution.units.unit_tasks import score_unit, store_events_here
from pipeline.storage.policy import set_retry_policy

logger = logging.getLogger("pipeline")


def units_at_once(config: JobConfig) -> int:
    """Units that a replica takes at one time.

    Two where it has a GPU: one is made ready, and another put away, while the GPU computes. On a
    CPU both would want the same cores. Where bits must repeat, units go one by one, so that none
    learns from another that its batches do not fit.
    """
    return 2 if config.replicas.gpus > 0 and not config.engine.deterministic else 1


class Replica:
    """One model on one device; scores one unit a call, several in threads of their own."""

    def __init__(
        self, job: Job, *, slots: int = 1, send: Send | None = None, name: str = ""
    ) -> None:
        """Load the model.

        Args:
            job: the job.
            slots: calls that may come at one time.
            send: takes a report once a second; None: nobody wants any.
            name: of the replica, which another process under it replaces; empty: it has none.
        """
        set_retry_policy(job.config.storage)
        self.job = job
        self.admission = Admission(slots)
        self.reporter = ReplicaReporter(send, replica=name)
        self.name = self.reporter.process
        self.failure: RerankError | None = None
        began = time.time()
        try:
            reranker = reranker_of(job)
            if not reranker.numpy_only:
                use_threads(job.config.replicas.cpus)
            self.engine = build_engine(
                reranker,
                job.config.engine,
                device_kind(job.config.replicas.gpus),
                rebuild=lambda files: build_reranker(
                    job.config.model, files=files, allow_code=job.allow_code
                ),
            )
        except RerankError as error:
            # An actor that dies in its constructor is started again, and its reason is lost.
            self.failure = error
        else:
            self.reporter.ready(device_name(self.engine.device))
        self.ready = time.time()
        self.load_s = self.ready - began
        logger.debug("replica %s: network loaded and tried out in %.2f s", self.name, self.load_s)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """An encoded unit -> the same row with readouts."""
        return score_unit(batch, self.score, job=self.job, admission=self.admission)

    def score(self, batch: pa.Table) -> pa.Table:
        """The work of a call, without the marks around it."""
        if self.failure is not None:
            raise self.failure
        began = time.time()
        lists, sequences = unpack(batch, self.engine.reranker)
        with (
            self.reporter.unit(
                rows.unit_of(batch),
                documents=rows.scoreable(batch),
                sequences=sequences.leaves,
                rounds=self.engine.several_rounds,
            ) as batches,
            model_code(),
        ):
            done = self.engine.score(sequences, lists, batches=batches)
            agreement = self._agreement(lists, done)
        failpoints.reached("unit.scored")
        scored = pack_readouts(batch, done.sequences, done.readouts)
        engine = done.statistics.as_dict()
        rescored, busy_s = engine.pop("rescored"), engine["device_s"]
        noted: rows.Statistics = {
            rows.ENGINE: engine,
            rows.UNIT_EVENTS: {"rescored": rescored},
            **notes_of(self.engine, ready=self.ready, load_s=self.load_s),
        }
        if agreement is not None:
            noted[rows.AGREEMENT] = agreement
        window = DeviceTime.of_unit(self.name, began=began, ended=time.time(), busy_s=busy_s)
        return rows.with_statistics(scored, noted | window)

    def _agreement(
        self, lists: Callable[[], CandidateLists], done: ScoredUnit
    ) -> dict[str, float] | None:
        """How far a quantised engine agrees with the reference, where it is still being checked."""
        check = self.engine.agreement
        if check is None:
            return None
        return check.check(self.engine, lists(), done.sequences, done.readouts)


class IsolatedReplica(Replica):
    """A replica in a process that may be lost, for units that killed theirs."""

    def queries(self, number: int) -> int:
        """Candidate lists of the unit with this number in ``job.units``."""
        return stages.queries_in(stages.read(number, self.job))

    def attempt(self, number: int, crashed: Sequence[int], put: bool, limit_s: float) -> pa.Table:
        """Take a unit through every stage.

        Args:
            number: its place in ``job.units``.
            crashed: its queries that are set aside and not scored.
            put: whether its files are written.
            limit_s: seconds after which this process kills itself.

        Returns:
            A status row; a suspected one where the model raised. Each with its store events.
        """
        unit = self.job.units[number].name
        try:
            with time_limit(limit_s):
                batch = stages.read(number, self.job)
                if crashed:
                    batch = stages.without_queries(batch, crashed)
                batch = stages.encode(batch, self.job)
                if not stages.nothing_to_score(batch):
                    batch = self.score(batch)
                done = stages.commit(batch, self.job, put=put)
        except ModelCodeError as error:
            done = rows.suspected(unit, failures=1, stderr_tail=str(error))
        except RerankError as error:
            done = rows.failed(error)
        return rows.with_statistics(done, store_events_here())
