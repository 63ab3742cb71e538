"""Where ranked lists go, and what they carry: the section ``output`` of a job."""

from __future__ import annotations

from typing import Final

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Names, Settings
from pipeline.config.fusion import FusionConfig

#: The format that every run has: a unit's Parquet file is its commit record.
PARQUET: Final = "parquet"


class OutputConfig(Settings):
    """Where ranked Parquet goes, and what it carries."""

    path: str = Field(
        min_length=1, description="Folder of runs; a run writes into <path>/<run id>."
    )
    columns: Names = Field(
        (), description="Input columns copied to the output beside ids, rank and scores."
    )
    token_counts: bool = Field(
        False, description="Also write n_tokens and truncated of every scored candidate."
    )
    fusion: FusionConfig | None = Field(
        None,
        description="Also write fused_score and fused_rank, which the first stage has a share in.",
    )
    calibration: str | None = Field(
        None,
        min_length=1,
        description="File that `rerank calibrate` wrote for this model; also write "
        "calibrated_score, the probability of relevance by it.",
    )
    file_mib: float = Field(
        256.0, gt=0, description="Size in memory past which a unit's rows go into several files."
    )
    formats: Names = Field(
        (PARQUET,),
        description="What is written of a unit: formats of pipeline/outputs, such as trec, each in "
        "a folder of its name. parquet is always among them: it says that the unit is committed.",
    )

    @field_validator("formats")
    @classmethod
    def _parquet_and_others(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        """Each once and in one order, for the order in which they are named means nothing."""
        return (PARQUET, *sorted(set(formats) - {PARQUET}))

    @model_validator(mode="after")
    def _columns_once(self) -> OutputConfig:
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise ValueError(f"output.columns names '{twice[0]}' twice; name every column once")
        return self
