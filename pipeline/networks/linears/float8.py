"""Linear layers in 8-bit floats on NVIDIA GPUs: a scale for each row and for each output.

``y[t, o] = s[t] * w[o] * sum_i q[t, i] * p[o, i] + b[o]`` with numbers of the format E4M3
(arXiv:2209.05433: 4 bits of exponent, 3 of mantissa, at most 448, no infinity) and scales that make
the largest of a row, or of an output's weights, 448. Sums are in the tensor cores' accumulators,
the product is bfloat16. A row's scale comes from that row alone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from pipeline.networks.linears.conversion import Quantised, Shared, quantise

#: The format; finite numbers only.
CODES: Final = torch.float8_e4m3fn

#: The format's largest number; what is larger becomes NaN.
MOST: Final = 448.0

#: Rows of zeros are divided by this.
_LEAST_SCALE: Final = 1e-12

#: What the kernel asks of both sizes of a weight.
MULTIPLE_OF: Final = 16


def quantise_rows(rows: torch.Tensor) -> Quantised:
    """Rows [..., in] as float8 [T, in], and their scales float32 [T, 1].

    Rows of bfloat16 are divided in bfloat16: a third of the memory traffic of doing it in float32.
    Their scale is made that much larger that rounding it cannot lift a quotient above 448.
    """
    rows = rows.reshape(-1, rows.shape[-1])
    most = torch.linalg.vector_norm(rows, torch.inf, dim=-1, keepdim=True, dtype=torch.float32)
    wide = (most / MOST).clamp_(min=_LEAST_SCALE) * (1 + torch.finfo(rows.dtype).eps)
    scales = wide.to(rows.dtype)
    return torch.div(rows, scales).to(CODES), scales.float()


def quantise_weights(weight: torch.Tensor) -> Quantised:
    """Weights [out, in] as float8 [out, in], and their scales float32 [out, 1]."""
    return quantise_rows(weight.float())


class Float8Linear(nn.Module):
    """A linear layer in 8-bit floats.

    Args:
        linear: bfloat16, with its weights, on a GPU; both sizes are multiples of 16.
        gelu: whether the exact GELU is done on the product.
        quantise: :func:`quantise_rows`, or one that is shared with other layers.
    """

    def __init__(self, linear: nn.Linear, *, gelu: bool, quantise: Shared) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.gelu, self.quantise = gelu, quantise
        codes, scales = quantise_weights(linear.weight.detach())
        self.codes = nn.Buffer(codes, persistent=False)
        self.scales = nn.Buffer(scales, persistent=False)
        self.bias = linear.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in] to bfloat16 [..., out]."""
        codes, scales = self.quantise(rows)
        # The kernel takes the second matrix by columns, which is how the weights lie.
        product = torch._scaled_mm(
            codes, self.codes.t(), scale_a=scales, scale_b=self.scales.t(), bias=self.bias,
            out_dtype=torch.bfloat16, use_fast_accum=True,
        )  # fmt: skip
        if self.gelu:
            product = nn.functional.gelu(product)
        return product.view(*rows.shape[:-1], self.out_features)


def quantise_linears(network: nn.Module) -> int:
    """Replace the linear layers of a network in place; returns how many there were.

    Heads, layers with fewer than 16 outputs, and those of other sizes than the kernel takes, stay
    as they are.
    """
    return quantise(network, Float8Linear, quantise_rows, multiple_of=MULTIPLE_OF)
