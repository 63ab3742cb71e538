"""What a night must be like to be published: the section ``refresh.gates``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings

#: Depths at which lists of two nights are compared.
Depth = Literal[1, 5, 10, 20, 50, 100]


class GatesConfig(Settings):
    """Limits on how much a night may differ from the last publication; null turns one off."""

    min_query_coverage: float | None = Field(
        0.95,
        ge=0,
        le=1,
        description="Share of the last publication's queries that must still have a candidate.",
    )
    max_quarantine_rate: float | None = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of candidates without a score, as quarantine.max_error_rate, which ends "
        "the run itself; raise both where so many are expected.",
    )
    max_row_change: float | None = Field(
        0.2,
        ge=0,
        description="How many candidates more or fewer there may be, as a share of the last "
        "publication's.",
    )
    max_score_drift: float | None = Field(
        0.5,
        ge=0,
        description="How far scores of the same query and document may have moved: their mean "
        "absolute difference, in standard deviations of the last publication's scores.",
    )
    min_overlap: float | None = Field(
        0.7,
        ge=0,
        le=1,
        description="Mean rank-biased overlap (Webber, Moffat, Zobel 2010; p = 0.9) of the first "
        "top_k of every query that is in both: 1 is the same order, 0 nothing in common.",
    )
    min_ndcg: float | None = Field(
        None, ge=0, le=1, description="Least mean nDCG at top_k over the queries of qrels."
    )
    qrels: str | None = Field(
        None, min_length=1, description="Judgements for min_ndcg, in TREC's or BEIR's form."
    )
    top_k: Depth = Field(10, description="Depth of min_overlap and min_ndcg.")

    @model_validator(mode="after")
    def _judged(self) -> GatesConfig:
        if (self.min_ndcg is None) != (self.qrels is None):
            given, lacking = (
                ("qrels", "min_ndcg") if self.min_ndcg is None else ("min_ndcg", "qrels")
            )
            raise ValueError(f"gates: {given} is set and {lacking} is not; set both or neither")
        return self


#: Names of the gates, each that of its setting.
GATES = tuple(name for name in GatesConfig.model_fields if name.startswith(("min_", "max_")))
