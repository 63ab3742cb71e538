"""What is forecast: a planned job and the CPU half of its model."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.candidates.inputs import Input
from pipeline.candidates.planning import Plan
from pipeline.config import JobConfig
from pipeline.rerankers.base import Reranker


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A planned job.

    Attributes:
        config: the job, its model section resolved.
        source: the opened input.
        plan: its units.
        reranker: the CPU half of its model.
        dtype: precision of the network's body.
        digest: of the checkpoint; empty where the family has none.
        model: name of the model.
        licence: of its weights; empty where it is not known.
        reused: share of the documents whose score is taken from an earlier run.
        committed: documents of units that are there already.
        units_left: units that are not.
        cluster: whether it runs on a cluster's machines, of which this one tells nothing.
        startup_s: seconds that a run takes besides scoring: workers, the model, publication.
    """

    config: JobConfig
    source: Input
    plan: Plan
    reranker: Reranker
    dtype: str
    digest: str
    model: str
    licence: str = ""
    reused: float = 0.0
    committed: int = 0
    units_left: int = 0
    cluster: bool = False
    startup_s: float = 0.0

    @property
    def documents_left(self) -> float:
        """Documents that go through the model, as far as the plan tells."""
        return (self.plan.documents - self.committed) * (1.0 - self.reused)
