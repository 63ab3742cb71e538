"""The settings of ``rerank export``, beside the set and the format that the command names."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.placement import RayConfig


class ExportConfig(Settings):
    """How one export is written."""

    options: dict[str, Any] = Field(
        default_factory=dict, description="Options of the format (docs/training_formats.md)."
    )
    ray: RayConfig = RayConfig()
