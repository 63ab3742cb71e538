"""The token states of texts as one vector each, by the modes of sentence-transformers' Pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from pipeline.networks.attention.plan import to_device
from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s

#: What keeps a mean over no token at zero, as the library has it.
_LEAST: Final = 1e-9


def pool(
    states: torch.Tensor,
    lengths: Int64s,
    *,
    modes: Sequence[str],
    left_out: Int64s | None = None,
) -> torch.Tensor:
    """One vector a text, the modes' side by side (sentence_transformer/modules/pooling.py of 6.2).

    Args:
        states: [T, hidden], of all tokens of all texts, one text after the other.
        lengths: int64 [b], tokens of each text.
        modes: keys of :data:`MODES`.
        left_out: int64 [b], leading tokens of each text, of its prompt, that no mode looks at. A
            text of nothing else has zeros, its first token by ``cls``, and -inf by ``max``.

    Returns:
        float32 [b, modes * hidden].
    """
    skipped = np.zeros_like(lengths) if left_out is None else np.minimum(left_out, lengths)
    texts = _Texts(states.float(), lengths, skipped)
    return torch.cat([MODES[mode](texts) for mode in modes], dim=-1)


@dataclass(frozen=True)
class _Texts:
    """States [T, hidden] of texts, tokens [b] of each, and how many [b] at its front to skip."""

    states: torch.Tensor
    lengths: Int64s
    skipped: Int64s

    @property
    def starts(self) -> Int64s:
        return np.cumsum(self.lengths) - self.lengths

    @property
    def counts(self) -> Int64s:
        return self.lengths - self.skipped

    def put(self, array: Int64s) -> torch.Tensor:
        return to_device(array, self.states.device)

    def kept(self) -> torch.Tensor:
        """The states [t, hidden] that are looked at."""
        if not self.skipped.any():
            return self.states
        return self.states[self.put(ragged_range(self.starts + self.skipped, self.counts))]

    def reduce(self, values: torch.Tensor, how: str) -> torch.Tensor:
        """[t, width] to [b, width]."""
        return torch.segment_reduce(values, how, lengths=self.put(self.counts), unsafe=True)


def _first(texts: _Texts) -> torch.Tensor:
    first = texts.starts + np.where(texts.counts > 0, texts.skipped, 0)
    return texts.states[texts.put(first)]


def _last(texts: _Texts) -> torch.Tensor:
    rows = texts.states[texts.put(texts.starts + texts.lengths - 1)]
    return rows * texts.put((texts.counts > 0).astype(np.int64))[:, None]


def _mean(texts: _Texts) -> torch.Tensor:
    counts = texts.put(texts.counts).float().clamp(min=_LEAST)
    return texts.reduce(texts.kept(), "sum") / counts[:, None]


def _mean_by_root(texts: _Texts) -> torch.Tensor:
    counts = texts.put(texts.counts).float().clamp(min=_LEAST)
    return texts.reduce(texts.kept(), "sum") / counts.sqrt()[:, None]


def _weighted_mean(texts: _Texts) -> torch.Tensor:
    """Weights 1, 2, 3, ... by the place in the text, its prompt counted."""
    places = ragged_range(texts.skipped + 1, texts.counts)
    weights = texts.put(places).float()[:, None]
    total = texts.reduce(texts.kept() * weights, "sum")
    return total / texts.reduce(weights, "sum").clamp(min=_LEAST)


def _max(texts: _Texts) -> torch.Tensor:
    return texts.reduce(texts.kept(), "max")


#: What becomes of a text's states, by the name that the library has for it.
MODES: Final[dict[str, Callable[[_Texts], torch.Tensor]]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_by_root,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
