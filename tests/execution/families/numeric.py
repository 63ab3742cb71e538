"""A family whose scores are not always numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.batch import Batch

if TYPE_CHECKING:
    import torch


class Numeric(Lexical):
    """NaN for ``nan`` unless in float32, infinity for ``inf``, no memory for ``large``."""

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def forward(self, batch: Batch) -> Any:
        import torch

        scores = super().forward(batch)
        for row, (start, stop) in enumerate(
            zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
        ):
            words = batch.token_ids[start:stop]
            if _token("large") in words:
                raise torch.OutOfMemoryError("CUDA out of memory (not really)")
            if _token("inf") in words:
                scores[row] = torch.inf
            if _token("nan") in words and self.dtype != torch.float32:
                scores[row] = torch.nan
        return scores


def _token(word: str) -> int:
    """The id that the lexical family gives a word."""
    return crc32(word.encode()) >> 1
