"""A family that crashes on everything."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.batch import Batch

if TYPE_CHECKING:
    import torch


class Crashing(Lexical):
    """Crashes on everything."""

    def forward(self, batch: Batch) -> torch.Tensor:
        os.abort()
