"""The settings of ``rerank diff``, beside the two runs that the command names."""

from __future__ import annotations

from pipeline.config.base import Settings
from pipeline.config.placement import RayConfig


class DiffConfig(Settings):
    """Where two runs are compared."""

    ray: RayConfig = RayConfig()
