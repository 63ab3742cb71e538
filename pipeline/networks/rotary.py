"""Tables of rotary positions (arXiv:2104.09864); :mod:`.pointwise` applies them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import torch
from torch import nn

if TYPE_CHECKING:
    from pipeline.networks.packed import Reading

#: cos and sin, each [T, head_dim / 2].
Tables = tuple[torch.Tensor, torch.Tensor]

#: The one kind of layer of an encoder whose layers all turn alike.
ROTATES: Final = "full_attention"


class Rotary(nn.Module):
    """Tables of an encoder, of which kinds of layers may have their own.

    Args:
        bases: for each kind of layer the base of its angles (theta).
        dim: width of a head.
    """

    def __init__(self, bases: Mapping[str, float], dim: int) -> None:
        super().__init__()
        steps = torch.arange(0, dim, 2, dtype=torch.float32) / dim
        for kind, base in bases.items():
            self.register_buffer(f"{kind}_inv_freq", 1.0 / base**steps, persistent=False)

    def forward(
        self, rows: torch.Tensor, positions: torch.Tensor, kind: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, each [1, T, dim] in the precision of ``rows``, of int64 [1, T] positions."""
        angles = positions[..., None].float() * self.get_buffer(f"{kind}_inv_freq")
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(rows.dtype), angles.sin().to(rows.dtype)


def rotary_tables(
    rotary: nn.Module, rows: torch.Tensor, positions: torch.Tensor, kind: str
) -> Tables:
    """The tables of :class:`Rotary` or of transformers' module in its place.

    Args:
        rotary: the module.
        rows: [T, hidden], in whose precision the tables are.
        positions: int64 [1, T].
        kind: of the layer.
    """
    cos, sin = rotary(rows, positions, kind)
    half = cos.shape[-1] // 2  # the other half is the same again
    return cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous()


def at_rows(tables: Tables, reading: Reading) -> Tables:
    """The tables of the tokens that are read out."""
    cos, sin = tables
    return cos[reading.rows], sin[reading.rows]
