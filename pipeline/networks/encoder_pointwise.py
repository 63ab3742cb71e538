"""What an encoder does to its rows between the matrix products, as BERT does it.

Sums are rounded to the network's precision where upstream's modules round them on a CPU; a fused
kernel keeps them in float32 until the end, which is nearer to float32's result.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.networks.fusing import fused


@fused
def add_layer_norm(
    rows: torch.Tensor,
    before: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> torch.Tensor:
    """[n, hidden]: LayerNorm (arXiv:1607.06450) of the sum of a layer's output and its input."""
    return functional.layer_norm(rows + before, weight.shape, weight, bias, epsilon)


@fused
def gelu(rows: torch.Tensor) -> torch.Tensor:
    """[n, inner]: the exact GELU (arXiv:1606.08415)."""
    return functional.gelu(rows)


@fused
def geglu(rows: torch.Tensor) -> torch.Tensor:
    """[n, 2 * inner] to [n, inner]: GELU of the first half times the second (arXiv:2002.05202)."""
    activated, plain = rows.chunk(2, dim=-1)
    return functional.gelu(activated) * plain


@fused
def reglu(rows: torch.Tensor) -> torch.Tensor:
    """[n, 2 * inner] to [n, inner]: ReLU of the first half times the second (arXiv:2002.05202)."""
    activated, plain = rows.chunk(2, dim=-1)
    return functional.relu(activated) * plain
