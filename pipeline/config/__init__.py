"""Job configuration: frozen models, and the loader that turns YAML and ``--set`` into them."""

from __future__ import annotations

from pipeline.config.loading import load_config, to_yaml
from pipeline.config.models import (
    EngineConfig,
    InputConfig,
    JobConfig,
    ModelConfig,
    OutputConfig,
    ProgressConfig,
    QuarantineConfig,
    RayConfig,
    ReplicasConfig,
    Settings,
    UnitsConfig,
)

__all__ = [
    "EngineConfig",
    "InputConfig",
    "JobConfig",
    "ModelConfig",
    "OutputConfig",
    "ProgressConfig",
    "QuarantineConfig",
    "RayConfig",
    "ReplicasConfig",
    "Settings",
    "UnitsConfig",
    "load_config",
    "to_yaml",
]
