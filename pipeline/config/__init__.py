"""Job configuration: frozen models, and the loader that turns YAML and ``--set`` into them."""

from __future__ import annotations

from pipeline.config.base import Settings
from pipeline.config.distill import DistillConfig
from pipeline.config.images import ImagesConfig
from pipeline.config.input import InputConfig
from pipeline.config.job import (
    EngineConfig,
    JobConfig,
    LeaseConfig,
    ProgressConfig,
    QuarantineConfig,
    StorageConfig,
    UnitsConfig,
)
from pipeline.config.limits import LimitsConfig
from pipeline.config.model import ModelConfig
from pipeline.config.output import OutputConfig
from pipeline.config.placement import RayConfig, ReplicasConfig
from pipeline.config.reading.loading import load_config, to_yaml
from pipeline.config.refresh import RefreshConfig

__all__ = [
    "DistillConfig",
    "EngineConfig",
    "ImagesConfig",
    "InputConfig",
    "JobConfig",
    "LeaseConfig",
    "LimitsConfig",
    "ModelConfig",
    "OutputConfig",
    "ProgressConfig",
    "QuarantineConfig",
    "RayConfig",
    "RefreshConfig",
    "ReplicasConfig",
    "Settings",
    "StorageConfig",
    "UnitsConfig",
    "load_config",
    "to_yaml",
]
