"""Several linear layers over the same rows as one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.networks.unfilled import unfilled


class JoinedLinear(nn.Module):
    """Linear layers of equal input side by side.

    One product of three times the width keeps a GPU busier than three products, and reads the rows
    once. A CPU is as fast with three, and there the layers are laid out one by one.

    Args:
        layers: taken over; where they are joined their own weights are given up. Layers that are
            no plain ``nn.Linear`` any more stay apart, with the same result.
        join: whether to join them; where they are not on a CPU by default.
    """

    def __init__(self, layers: Sequence[nn.Module], *, join: bool | None = None) -> None:
        super().__init__()
        self.sizes = [int(layer.out_features) for layer in layers]  # type: ignore[arg-type]
        plain = [layer for layer in layers if type(layer) is nn.Linear]
        if join is None:
            join = bool(plain) and plain[0].weight.device.type != "cpu"
        joined = join and len(plain) == len(layers)
        self.layers = nn.ModuleList([_join(plain)] if joined else layers)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[n, in] to [n, out] of each layer; views of one tensor where the layers are joined."""
        if len(self.layers) == 1:
            return torch.split(self.layers[0](rows), self.sizes, dim=-1)
        return tuple(layer(rows) for layer in self.layers)


def _join(parts: Sequence[nn.Linear]) -> nn.Linear:
    biased = parts[0].bias is not None
    with unfilled():
        joined = nn.Linear(parts[0].in_features, 0, bias=biased)
    joined.out_features = sum(part.out_features for part in parts)
    joined.weight = nn.Parameter(torch.cat([p.weight for p in parts]), requires_grad=False)
    if biased:
        joined.bias = nn.Parameter(torch.cat([p.bias for p in parts]), requires_grad=False)
    return joined
