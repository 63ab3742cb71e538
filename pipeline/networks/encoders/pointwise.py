"""What an encoder does to its rows between the matrix products.

A fused kernel rounds once, at its end; the plain functions round after each step, as upstream's
modules do. In float32 that is the same, below it the fused result is the nearer one.
"""

from __future__ import annotations

import torch
from torch import nn
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
def add_and_norm(
    rows: torch.Tensor,
    before: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    epsilon: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As :func:`add_layer_norm`, and the sum itself: for norms that stand before their layer."""
    total = rows + before
    return functional.layer_norm(total, weight.shape, weight, bias, epsilon), total


@fused
def embedding_norm(
    words: torch.Tensor,
    types: torch.Tensor,
    places: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    epsilon: float,
) -> torch.Tensor:
    """[n, hidden]: LayerNorm of a word's, its token type's and its position's embedding."""
    return functional.layer_norm(words + types + places, weight.shape, weight, bias, epsilon)


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


def norm_of(module: nn.LayerNorm) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Weight, bias and epsilon of a module, as the functions above take them."""
    return module.weight, module.bias, module.eps
