"""One model of a comparison: checked first, loaded when all have been."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.checkpoints.naming import settled
from pipeline.comparison.named import NamedModel
from pipeline.config import JobConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.engine.device import device_kind
from pipeline.engine.engine import Engine
from pipeline.execution.runs.identity import ModelIdentity, model_identity
from pipeline.rerankers.base import Reranker

logger = logging.getLogger("pipeline")


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """A model whose files were found and fit its family; its network is not loaded.

    Attributes:
        named: what it was asked for as.
        config: the job with its model section resolved.
        identity: which scores it gives.
        reranker: its CPU half.
        allow_code: modules outside this package that the user allows to be imported.
    """

    named: NamedModel
    config: JobConfig
    identity: ModelIdentity
    reranker: Reranker
    allow_code: frozenset[str]

    @classmethod
    def of(cls, named: NamedModel, base: JobConfig, allow_code: frozenset[str]) -> CheckedModel:
        """Find a model's family and files.

        Raises:
            ConfigurationError, NotFoundError, ModelError: as when a run is planned; names it.
        """
        job = named.job(base)
        with named.named_in_errors():
            config = job.model_copy(update={"model": settled(job.model)})
            reranker = _built(config, allow_code)
            return cls(
                named=named,
                config=config,
                identity=model_identity(config, reranker),
                reranker=reranker,
                allow_code=allow_code,
            )

    def loaded(self) -> LoadedModel:
        """Load the network where a replica of the job would have it, in this process.

        Raises:
            ConfigurationError, ModelError: see :func:`pipeline.engine.build.build_engine`.
        """
        began = time.perf_counter()
        with self.named.named_in_errors():
            engine = build_engine(
                self.reranker,
                self.config.engine,
                device_kind(self.config.replicas.gpus),
                rebuild=lambda files: _built(self.config, self.allow_code, files),
            )
        seconds = time.perf_counter() - began
        logger.info("%s: loaded in %.1f s (%s)", self.named.label, seconds, self.identity.family)
        return LoadedModel(named=self.named, identity=self.identity, engine=engine, load_s=seconds)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A loaded model.

    Attributes:
        named: what it was asked for as.
        identity: which scores it gives.
        engine: the model on its device.
        load_s: seconds that loading the network took.
    """

    named: NamedModel
    identity: ModelIdentity
    engine: Engine
    load_s: float

    @property
    def label(self) -> str:
        """What reports call it."""
        return self.named.label


def _built(
    config: JobConfig, allow_code: Collection[str], files: Mapping[str, str] | None = None
) -> Reranker:
    return build_reranker(
        config.model, files=files, images=config.input.images, allow_code=allow_code
    )
