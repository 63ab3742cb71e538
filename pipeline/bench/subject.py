"""The model of a bench, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.bench.models.checkpoints import checkpoint_folder, twin_folder
from pipeline.bench.models.shapes import Scale, Shape
from pipeline.config import ModelConfig
from pipeline.engine.device import torch_dtype
from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model with random weights, and where its network is.

    Attributes:
        shape: of the network.
        scale: real or tiny.
        cache: folder of checkpoints.
        device: where the network is.
        dtype: precision of its body, by name.
    """

    shape: Shape
    scale: Scale
    cache: Path
    device: torch.device
    dtype: str

    @property
    def folder(self) -> Path:
        """The checkpoint, written where it is not there yet.

        Raises:
            ConfigurationError: the model has weights of its own, which peers cannot load.
        """
        if self.shape.model is not None:
            raise ConfigurationError(
                f"--model: peers run networks with random weights; {self.shape.name} has its own"
            )
        return checkpoint_folder(self.shape, self.scale, self.cache)

    @property
    def twin(self) -> Path | None:
        """The checkpoint as transformers loads it; None where it has no such network."""
        return twin_folder(self.shape, self.scale, self.cache)

    @property
    def model(self) -> ModelConfig:
        """The model section that runs it."""
        if self.shape.model is not None:
            return self.shape.model
        return ModelConfig(
            family=self.shape.family, weights=str(self.folder), settings=self.shape.settings
        )

    @property
    def torch_dtype(self) -> torch.dtype:
        """What torch computes in; where linear layers are quantised, all but these."""
        return torch_dtype(self.dtype)
