"""From a configuration to a plan and a place to write, without Ray and without torch."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pipeline
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.planning import Plan, plan_units
from pipeline.config import JobConfig
from pipeline.engine.build import build_reranker
from pipeline.execution.identity import ModelIdentity, fingerprint, model_identity
from pipeline.execution.run_folder import RunFolder
from pipeline.rerankers.support import cards
from pipeline.storage.policy import set_retry_policy
from pipeline.storage.store import absolute, join

_PACKAGES = ("ray", "torch", "transformers", "tokenizers", "pyarrow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        config: the job with its model section resolved.
        model: identity of the model.
        source: the opened input.
        plan: the units.
        folder: where the run is or will be.
        allow_code: modules outside this package that the user allows to be imported; never
            written down, so that a run's folder cannot say it.
    """

    config: JobConfig
    model: ModelIdentity
    source: Input
    plan: Plan
    folder: RunFolder
    allow_code: frozenset[str] = frozenset()

    def description(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        return {
            "run_id": self.plan.run_id,
            "fingerprint": self.plan.fingerprint,
            "model": asdict(self.model),
            "config": self.config.model_dump(mode="json"),
            "input": [f.identity.described() | {"rows": f.rows} for f in self.source.files],
            "layout": self.source.columns.layout,
            "versions": _versions(),
        }


def prepare(config: JobConfig, *, allow_code: frozenset[str] = frozenset()) -> Prepared:
    """Resolve the model, open the input, cut it into units.

    Args:
        config: the job.
        allow_code: modules outside this package that the user allows to be imported.

    Raises:
        ConfigurationError, NotFoundError, ModelError, InputContractError: see their classes.
    """
    set_retry_policy(config.storage)
    config = config.model_copy(update={"model": cards.resolve(config.model)})
    reranker = build_reranker(config.model, allow_code=allow_code)
    model = model_identity(config, reranker)
    source = open_input(config.input, pass_through=config.output.columns)
    plan = plan_units(
        source,
        documents=config.units.documents,
        fingerprint=fingerprint(config, model),
        limit=config.limit,
    )
    folder = RunFolder(join(absolute(config.output.path), plan.run_id))
    return Prepared(
        config=config,
        model=model,
        source=source,
        plan=plan,
        folder=folder,
        allow_code=allow_code,
    )


def _versions() -> dict[str, str]:
    found = {"rerank-pipeline": pipeline.__version__, "python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
