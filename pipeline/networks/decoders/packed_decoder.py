"""Decoders of Llama's make over flat batches: Llama, Mistral, Gemma, Qwen2, Qwen3, Qwen-VL's text.

Their layers are in :mod:`pipeline.networks.decoders.layers`. A decoder's state dict is in the
layout of checkpoints, through which weights are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.networks.decoders.layers import (
    Attention,
    DecoderLayer,
    LastAttention,
    LastLayer,
    Norm,
)
from pipeline.networks.packed import Reading
from pipeline.networks.rotary import Tables
from pipeline.networks.unfilled import unfilled

if TYPE_CHECKING:
    from pipeline.networks.attention.plan import Plan
    from pipeline.networks.decoders.shape import DecoderShape


@dataclass(frozen=True, kw_only=True)
class Deep:
    """What DeepStack (arXiv:2406.04334) adds to some tokens between the first layers.

    Attributes:
        places: int64 [v], the tokens.
        features: [v, hidden] each, added behind the first layer, the second, and so on.
    """

    places: torch.Tensor
    features: Sequence[torch.Tensor]


class PackedDecoder(nn.Module):
    """A decoder's body: embedding table, layers, last normalisation.

    Parameters are not initialised; they wait for a checkpoint.

    Args:
        shape: of the decoder.
        dtype: of its parameters.
    """

    inverse_frequencies: torch.Tensor

    def __init__(self, shape: DecoderShape, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = shape
        with unfilled():
            self.embed_tokens = Embedding(shape.vocabulary, shape.hidden, dtype=dtype)
        # Rounded to the network's precision before it multiplies, as transformers has it.
        self.embed_tokens.scale = float(torch.tensor(shape.input_scale, dtype=dtype))
        *before, last = shape.windows
        self.layers = nn.ModuleList(
            [
                *(DecoderLayer(Attention(shape, window, dtype), shape, dtype) for window in before),
                LastLayer(LastAttention(shape, last, dtype), shape, dtype),
            ]
        )
        self.norm = Norm(shape.hidden, shape, dtype)
        self.register_buffer("inverse_frequencies", shape.inverse_frequencies, persistent=False)

    def forward(
        self,
        states: torch.Tensor,
        positions: torch.Tensor,
        plan: Plan,
        reading: Reading,
        deep: Deep | None = None,
    ) -> torch.Tensor:
        """The last states of the tokens that are read out.

        Args:
            states: [T, hidden], embeddings of the tokens.
            positions: int64 [T], or [3, T] for time, row and column.
            plan: who sees whom.
            reading: what is read out.
            deep: what is added between layers.

        Returns:
            [r, hidden].
        """
        tables = self.rotary_tables(positions, states.dtype)
        added: torch.Tensor | None = None
        *before, last = self.layers
        for number, layer in enumerate(before):
            added, states = layer(added, states, tables, plan)
            if deep is not None and number < len(deep.features):
                feature = deep.features[number].to(states.dtype)
                states = states.index_add(0, deep.places, feature)
        added, states = last(added, states, tables, plan, reading)
        normed: torch.Tensor = self.norm(added, states)[0]
        return normed

    def rotary_tables(self, positions: torch.Tensor, dtype: torch.dtype) -> Tables:
        """[T, head_dim / 2] of cos and of sin in ``dtype``, computed in float32."""
        angles = positions[..., None].float() * self.inverse_frequencies
        if self.shape.sections is not None:
            angles = _of_three_axes(angles, self.shape.sections, self.shape.interleaved)
        scale = self.shape.table_scale
        return (angles.cos() * scale).to(dtype), (angles.sin() * scale).to(dtype)


class Embedding(nn.Embedding):
    """Embeddings of tokens, multiplied by ``scale``."""

    scale: float = 1.0

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """[T, hidden]."""
        rows = super().forward(token_ids)
        return rows if self.scale == 1.0 else rows * self.scale


def _of_three_axes(
    angles: torch.Tensor, sections: tuple[int, ...], interleaved: bool
) -> torch.Tensor:
    """[T, head_dim / 2] of [3, T, head_dim / 2]: each column turns with one axis.

    Interleaved, rows and columns take every third column in turn, and time those that are left.
    """
    if not interleaved:
        parts = torch.split(angles, list(sections), dim=-1)
        return torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
    mixed = angles[0].clone()
    for axis in (1, 2):
        places = slice(axis, 3 * sections[axis], 3)
        mixed[:, places] = angles[axis, :, places]
    return mixed
