"""Matrix products on the CPU in int8, for those who trade a little exactness for speed.

Weights are rounded once, each output's to 255 levels of its own; inputs are rounded as they come,
all rows of a batch to the same 256 levels. So a score depends a little on its batch. Heads stay as
they are.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from pipeline.rerankers.support.cpu_linears import BlockedLinear

#: oneDNN's products add in 32 bits and overflow nowhere; the default engine is slower.
_ENGINE: Final = "onednn"


class Int8Linear(nn.Module):
    """A linear layer with rounded weights and inputs.

    Args:
        weight: float32 [out, in].
        bias: float32 [out], or None.
        activation: ``none`` or ``gelu``.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> None:
        super().__init__()
        self.activation = activation
        largest = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny * 127)
        rounded = torch.quantize_per_channel(
            weight, largest / 127, torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8
        )
        self.packed: Any = torch.ops.quantized.linear_prepack(rounded, bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        product: torch.Tensor = torch.ops.quantized.linear_dynamic(rows, self.packed)
        return nn.functional.gelu(product) if self.activation == "gelu" else product


def quantize_linears(network: nn.Module) -> int:
    """Replace the blocked linear layers of a loaded network, in place, and say how many.

    Modules with hooks are heads, which run in float32 in every precision, and so do those in them.

    Raises:
        RuntimeError: this build of torch has no int8 products of oneDNN.
    """
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        return _quantize(network)
    finally:
        torch.backends.quantized.engine = before


def _quantize(parent: nn.Module) -> int:
    count = 0
    for name, child in list(parent.named_children()):
        if child._forward_pre_hooks:
            continue
        if isinstance(child, BlockedLinear):
            weight = child.blocks.to_dense()
            setattr(parent, name, Int8Linear(weight, child.bias, child.activation))
            count += 1
        else:
            count += _quantize(child)
    return count
