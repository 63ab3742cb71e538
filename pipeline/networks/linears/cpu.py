"""Matrix products on the CPU by oneDNN, with weights laid out for it once.

torch gives float32 products to MKL, which uses half of the vector width on processors that Intel
did not make; oneDNN asks the processor what it can. Same arithmetic, in another order of addition.
In bfloat16 torch asks oneDNN as well, and lays the weights out anew in each product. An exact GELU
behind a product is done on its way out, while the numbers are in the cache.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import nn

from pipeline.networks.linears.conversion import places

#: For how many rows at a time the layout is chosen; any number works.
_ROWS: Final = 1024


class BlockedLinear(nn.Module):
    """A linear layer whose weight lies in oneDNN's blocks.

    Args:
        linear: float32 or bfloat16, on the CPU.
        activation: what is done to every number of the product.
    """

    def __init__(self, linear: nn.Linear, *, activation: Literal["none", "gelu"] = "none") -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.activation = activation
        self.bias = linear.bias
        # No buffer: it has no storage that could be saved, moved or looked into.
        self.blocks: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self.blocks, self.bias, self.activation, [], "none"
        )
        return product


def block_linears(network: nn.Module) -> None:
    """Replace the linear layers of a network in place, where oneDNN can take them over.

    Left alone are layers of other dtypes than float32 and bfloat16, the latter also where oneDNN
    has no kernel for this processor, and what :func:`pipeline.networks.linears.conversion.places`
    leaves out.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    known = {torch.float32}
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        known.add(torch.bfloat16)
    for place in places(network):
        if place.linear.weight.dtype in known:
            activation: Literal["none", "gelu"] = "gelu" if place.gelu else "none"
            place.replace(BlockedLinear(place.linear, activation=activation))
