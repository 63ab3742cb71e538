"""The actor that holds one replica of the model."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipeline import failpoints
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import device_kind, use_threads
from pipeline.errors import RerankError
from pipeline.execution import rows, stages
from pipeline.execution.attempts import time_limit
from pipeline.execution.model_code import ModelCodeError, model_code
from pipeline.execution.stages import Job, pack_readouts, reranker_of, unpack
from pipeline.execution.unit_tasks import score_unit, store_events_here
from pipeline.storage.policy import set_retry_policy


class Replica:
    """One model on one device; scores one unit a call."""

    def __init__(self, job: Job) -> None:
        use_threads(job.config.replicas.num_cpus)
        set_retry_policy(job.config.storage)
        self.job = job
        self.failure: RerankError | None = None
        try:
            self.engine = build_engine(
                reranker_of(job),
                job.config.engine,
                device_kind(job.config.replicas.num_gpus),
                rebuild=lambda files: build_reranker(
                    job.config.model, files=files, allow_code=job.allow_code
                ),
            )
        except RerankError as error:
            # An actor that dies in its constructor is started again, and its reason is lost.
            self.failure = error

    def __call__(self, batch: pa.Table) -> pa.Table:
        """An encoded unit -> the same row with readouts."""
        return score_unit(batch, self.score, job=self.job)

    def score(self, batch: pa.Table) -> pa.Table:
        """The work of a call, without the marks around it."""
        if self.failure is not None:
            raise self.failure
        lists, sequences = unpack(batch, self.engine.reranker)
        before = self.engine.statistics.as_dict()
        with model_code():
            sequences, readouts = self.engine.run(lists, sequences)
        failpoints.reached("unit.scored")
        after = self.engine.statistics.as_dict()
        engine = {name: value - before[name] for name, value in after.items()}
        rescored = engine.pop("rescored")
        noted: rows.Statistics = {rows.ENGINE: engine, rows.UNIT_EVENTS: {"rescored": rescored}}
        return rows.with_statistics(pack_readouts(batch, sequences, readouts), noted)


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
                batch = self.score(stages.encode(batch, self.job))
                done = stages.commit(batch, self.job, put=put)
        except ModelCodeError as error:
            done = rows.suspected(unit, failures=1, stderr_tail=str(error))
        except RerankError as error:
            done = rows.failed(error)
        return rows.with_statistics(done, store_events_here())
