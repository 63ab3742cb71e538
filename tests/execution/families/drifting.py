"""A family that gives other scores when its environment says so, as mixed kinds of GPU would."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.batch import Batch

if TYPE_CHECKING:
    import torch


class Drifting(Lexical):
    """Lexical scores plus ``$DRIFT``."""

    def forward(self, batch: Batch) -> torch.Tensor:
        return super().forward(batch) + float(os.environ.get("DRIFT", "0"))
