"""The actor that holds one replica of the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import failpoints
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import device_kind, use_threads
from pipeline.engine.engine import Engine, Readouts
from pipeline.errors import RerankError
from pipeline.execution import rows, stages
from pipeline.execution.attempts import time_limit
from pipeline.execution.model_code import ModelCodeError, model_code
from pipeline.execution.stages import Job, pack_readouts, reranker_of, unpack
from pipeline.execution.unit_tasks import score_unit, store_events_here
from pipeline.rerankers.base import Sequences
from pipeline.storage.policy import set_retry_policy


class Replica:
    """One model on one device; scores one unit a call."""

    def __init__(self, job: Job) -> None:
        use_threads(job.config.replicas.num_cpus)
        set_retry_policy(job.config.storage)
        self.job = job
        self.kind = device_kind(job.config.replicas.num_gpus)
        self.failure: RerankError | None = None
        self.exact: Engine | None = None
        self.rescored = 0
        try:
            self.engine = build_engine(reranker_of(job), job.config.engine, self.kind)
            self.engine.second_look = self.look_again
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
        before, rescored = self.engine.statistics.as_dict(), self.rescored
        with model_code():
            sequences, readouts = self.engine.run(lists, sequences)
        failpoints.reached("unit.scored")
        after = self.engine.statistics.as_dict()
        noted: rows.Statistics = {
            rows.ENGINE: {name: value - before[name] for name, value in after.items()},
            rows.UNIT_EVENTS: {"rescored": self.rescored - rescored},
        }
        return rows.with_statistics(pack_readouts(batch, sequences, readouts), noted)

    def look_again(self, sequences: Sequences, readouts: Readouts) -> Readouts:
        """Score what came out as NaN or infinity once more: alone, and in float32."""
        broken = not_finite(sequences, readouts)
        if not len(broken):
            return readouts
        self.rescored += len(broken)
        engine = self._exact_engine()
        values = readouts.values.copy()
        for sequence in broken.tolist():
            first, last = sequences.readout_offsets[sequence : sequence + 2]
            alone = engine.score_alone(sequences, sequence)
            if alone is not None:
                values[first:last] = alone
        return Readouts(values=values, too_large=readouts.too_large)

    def _exact_engine(self) -> Engine:
        """This engine where it computes in float32 already, else a second one that does."""
        if self.job.model.dtype == "float32":
            return self.engine
        if self.exact is None:
            config = self.job.config.engine.model_copy(
                update={"dtype": "float32", "token_budget": 1}  # its batches are single sequences
            )
            job = self.job
            reranker = build_reranker(
                job.config.model, files=job.model.files, allow_code=job.allow_code
            )
            self.exact = build_engine(reranker, config, self.kind)
        return self.exact


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


def not_finite(sequences: Sequences, readouts: Readouts) -> npt.NDArray[np.int64]:
    """int64: sequences with a NaN or infinite readout; those that did not fit are left out."""
    broken = np.flatnonzero(~np.isfinite(readouts.values).all(axis=1))
    places = np.searchsorted(sequences.readout_offsets, broken, side="right") - 1
    return np.setdiff1d(places, readouts.too_large).astype(np.int64)
