"""Linear layers in 8-bit integers on the CPU: weights by output, inputs by row, exact sums.

``y[t, o] = s[t] * w[o] * sum_i q[t, i] * p[o, i] + b[o]`` with integers ``|q|, |p| <= 127`` and
scales that make the largest of a row, or of an output's weights, 127 (symmetric quantisation as in
LLM.int8(), arXiv:2208.07339, section 2.1, without outliers set apart). The scale of a row comes
from that row alone and sums of integers have no order, so a score does not depend on what else is
in its batch.

Products run in oneDNN, whose integer kernels take unsigned rows: 128 is added to each number of a
row and taken out of the sums by oneDNN again. That is exact on processors with VNNI or AMX; without
these, sums of pairs saturate at 16 bits, and the engine refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import nn

from pipeline.networks.linears.conversion import Quantised, Shared, quantise

#: The largest of a row, and of an output's weights.
_MOST: Final = 127

#: Rows of zeros are divided by this.
_LEAST_SCALE: Final = 1e-12

#: Rows that are taken through a layer together, so that what lies between its steps stays in cache.
_CHUNK: Final = 512


def quantise_rows(rows: torch.Tensor) -> Quantised:
    """Rows [..., in] as uint8 [T, in] around 128, and their scales float32 [T, 1]."""
    rows = rows.reshape(-1, rows.shape[-1])
    codes = torch.empty(rows.shape, dtype=torch.int8)
    scales = torch.empty(len(rows), 1)
    for part in _parts(len(rows)):
        some = rows[part].float()
        most = torch.maximum(some.amax(-1, keepdim=True), some.amin(-1, keepdim=True).neg_())
        scales[part] = most.mul_(1 / _MOST).clamp_(min=_LEAST_SCALE)
        codes[part] = torch.div(some, most).round_()
    # To int8 and its sign bit over: a cast to uint8 takes five times as long.
    return codes.view(torch.uint8).bitwise_xor_(128), scales


def quantise_weights(weight: torch.Tensor) -> Quantised:
    """Weights [out, in] as int8 [out, in], and their scales float32 [out]."""
    weight = weight.float()
    scales = weight.abs().amax(1).div_(_MOST).clamp_(min=_LEAST_SCALE)
    return torch.div(weight, scales[:, None]).round_().to(torch.int8), scales


class Int8Linear(nn.Module):
    """A linear layer in 8-bit integers.

    Args:
        linear: with its weights, on the CPU.
        gelu: whether the exact GELU is done on the product.
        quantise: :func:`quantise_rows`, or one that is shared with other layers.
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool, quantise: Shared) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.gelu, self.quantise = gelu, quantise
        codes, self.scales = quantise_weights(linear.weight.detach())
        # No buffer: it has no storage that could be saved, moved or looked into.
        self.blocks: Any = torch.ops.onednn.qlinear_prepack(codes, [_CHUNK, self.in_features])
        self.zeros = torch.zeros(self.out_features, dtype=torch.int64)
        bias = torch.zeros(self.out_features) if linear.bias is None else linear.bias.detach()
        self.bias = bias.float()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out], of the same dtype."""
        codes, scales = self.quantise(rows)
        out = torch.empty(len(codes), self.out_features, dtype=rows.dtype)
        for part in _parts(len(codes)):
            sums = torch.ops.onednn.qlinear_pointwise(
                codes[part], 1.0, 128, self.blocks, self.scales, self.zeros, None,
                1.0, 0, torch.float32, "none", [], "",
            )  # fmt: skip
            torch.addcmul(self.bias, sums, scales[part], out=out[part])
            if self.gelu:
                torch.ops.aten.gelu_(out[part])
        return out.view(*rows.shape[:-1], self.out_features)


def _parts(rows: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, rows, _CHUNK))


def quantise_linears(network: nn.Module) -> int:
    """Replace the linear layers of a network in place; returns how many there were.

    Heads, and layers with fewer than 16 outputs, stay as they are.
    """
    return quantise(network, Int8Linear, quantise_rows, multiple_of=1)
