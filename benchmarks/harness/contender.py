"""What is measured: something that scores candidate lists with the model of a bench."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.benchmarking.checkpoints import checkpoint_folder, twin_folder
from pipeline.benchmarking.measuring import Cost
from pipeline.benchmarking.shapes import Scale, Shape
from pipeline.candidates.lists import CandidateLists
from pipeline.config import ModelConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that all contenders run, and where.

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
        """The checkpoint, written where it is not there yet."""
        return checkpoint_folder(self.shape, self.scale, self.cache)

    @property
    def twin(self) -> Path | None:
        """The checkpoint as transformers loads it; None where it has no such network."""
        return twin_folder(self.shape, self.scale, self.cache)

    @property
    def model(self) -> ModelConfig:
        """The model section that runs it."""
        return ModelConfig(
            family=self.shape.family, weights=str(self.folder), settings=self.shape.settings
        )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision as torch has it."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What one pass over a workload gave.

    Attributes:
        scores: float32 [N], in the order of the documents.
        stages: cost of each part, where the contender has parts.
        tokens: that had to be computed; None where it is for the caller to say.
        computed: tokens that the network worked on, padding among them; None where unknown.
        device_s: seconds between the first and the last kernel of each unit; 0 where unknown.
    """

    scores: npt.NDArray[np.float32]
    stages: dict[str, Cost] = field(default_factory=dict)
    tokens: int | None = None
    computed: int | None = None
    device_s: float = 0.0


class Contender(ABC):
    """One way to score lists. The network is loaded by the constructor.

    Attributes:
        name: as ``--engine`` and ``--peers`` know it.
        about: one line for people.
        ours: whether it is this package's engine.
        shares: whether it computes what prompts have in common once.
    """

    name: str
    about: str
    ours: bool = False
    shares: bool = False

    @abstractmethod
    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Score all units, from texts to scores on the host."""


def pairs_of(lists: CandidateLists) -> list[tuple[str, str]]:
    """Every query with each of its documents, as texts."""
    queries = lists.queries.column(schema.QUERY).to_pylist()
    texts = lists.documents.column(schema.TEXT).to_pylist()
    return [
        (queries[query], text)
        for query, text in zip(lists.query_of_document.tolist(), texts, strict=True)
    ]
