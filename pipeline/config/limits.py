"""What a run may take at most: the section ``limits`` of a job."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.base import Settings


class LimitsConfig(Settings):
    """Past which a run is not begun, or stops; units that are finished are kept."""

    gpu_hours: float | None = Field(
        None,
        gt=0,
        description="GPU-hours of all replicas, those of the run's earlier sessions among them; "
        "null: no limit. Replicas on CPU have none.",
    )
    cost: float | None = Field(
        None,
        gt=0,
        description="What these replicas cost at the highest price, in the currency of the price "
        "file (docs/cost.md); null: no limit.",
    )
