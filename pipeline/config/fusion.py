"""How the order of the first stage and that of the reranker become one: ``output.fusion``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.base import Settings


class FusionConfig(Settings):
    """A second score beside the reranker's, which it never replaces."""

    method: Literal["rrf", "weighted"] = Field(
        description="rrf: reciprocal rank fusion (Cormack, Clarke, Buettcher 2009); weighted: the "
        "sum of both scores, each standardised within its list."
    )
    weight: float = Field(
        0.5, ge=0, le=1, description="Share of the reranker; the first stage has the rest."
    )
    k: float = Field(
        60.0,
        gt=0,
        description="Of rrf: what is added to every rank, 60 as in the paper. The less, the more "
        "the first ranks count.",
    )
