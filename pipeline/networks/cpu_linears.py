"""Matrix products on the CPU by oneDNN, with weights laid out for it once.

torch gives float32 products to MKL, which uses half of the vector width on processors that Intel
did not make; oneDNN asks the processor what it can. Same arithmetic, in another order of addition.
An exact GELU behind a product is done on its way out, while the numbers are in the cache.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from torch import nn

#: For how many rows at a time the layout is chosen; any number works.
_ROWS: Final = 1024


class BlockedLinear(nn.Module):
    """A linear layer whose weight lies in oneDNN's blocks.

    Args:
        linear: float32, on the CPU.
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

    Left alone are layers that are not float32, those whose weight is also another module's (output
    layers tied to embeddings) and those with hooks (heads that upcast their input).
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    owners: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1

    def blocks(child: object) -> bool:
        return (
            type(child) is nn.Linear
            and child.weight.dtype == torch.float32
            and owners[id(child.weight)] == 1
            and not (child._forward_pre_hooks or child._forward_hooks)
        )

    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if blocks(child):
                setattr(parent, name, BlockedLinear(child))  # type: ignore[arg-type]
            elif _is_gelu_of_linear(child) and blocks(child.dense):
                setattr(parent, name, BlockedLinear(child.dense, activation="gelu"))  # type: ignore[arg-type]


def _is_gelu_of_linear(module: nn.Module) -> bool:
    """Whether a module is the first half of BERT's feed-forward layer, with the exact GELU."""
    from transformers.activations import GELUActivation

    activation = getattr(module, "intermediate_act_fn", None)
    return (
        isinstance(activation, GELUActivation)
        and activation.act is nn.functional.gelu
        and [name for name, _ in module.named_children()] == ["dense", "intermediate_act_fn"]
    )
