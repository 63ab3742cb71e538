"""The actor that holds one replica of the model."""

from __future__ import annotations

import pyarrow as pa

from pipeline.engine.build import build_engine
from pipeline.engine.device import device_kind, use_threads
from pipeline.errors import RerankError
from pipeline.execution.stages import Job, pack_readouts, reported, reranker_of, unpack


class Replica:
    """One model on one device; scores one unit a call."""

    def __init__(self, job: Job) -> None:
        use_threads(job.config.replicas.num_cpus)
        kind = device_kind(job.config.replicas.num_gpus)
        self.failure: RerankError | None = None
        try:
            self.engine = build_engine(reranker_of(job), job.config.engine, kind)
        except RerankError as error:
            # An actor that dies in its constructor is started again, and its reason is lost.
            self.failure = error

    @reported
    def __call__(self, batch: pa.Table) -> pa.Table:
        """An encoded unit -> the same row with readouts."""
        if self.failure is not None:
            raise self.failure
        lists, sequences = unpack(batch)
        sequences, readouts = self.engine.run(lists, sequences)
        return pack_readouts(batch, sequences, readouts)
