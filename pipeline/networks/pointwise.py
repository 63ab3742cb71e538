"""The steps of a decoder between its matrix products.

Precision is that of transformers' modules: mean squares and rotations in float32, results rounded
to the network's precision where those modules round.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from pipeline.networks.fusing import applies, fused
from pipeline.networks.refusals import unless_refused


@fused
def rms_norm(
    states: torch.Tensor, weight: torch.Tensor, eps: float, offset: bool = False
) -> torch.Tensor:
    """Root mean square normalisation of rows (arXiv:1910.07467).

    Args:
        states: [T, n].
        weight: [n].
        eps: added to the mean square.
        offset: whether rows are multiplied by 1 + ``weight``, and rounded after that, as Gemma's.
    """
    return _normed(states, weight, eps, offset)


@fused
def add_rms_norm(
    added: torch.Tensor,
    states: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    offset: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum, normalised, and the sum: the end of one residual branch and the start of the next.

    Args:
        added: [T, n], what the branch gives.
        states: [T, n], what it was given.
        weight: [n].
        eps: added to the mean square.
        offset: as in :func:`rms_norm`.
    """
    total = states + added
    return _normed(total, weight, eps, offset), total


@fused
def rotate_heads(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv:2104.09864) of queries and keys.

    Args:
        heads: [T, heads, dim]; number n of a head and number n + dim / 2 turn together.
        cos: [T, dim / 2], of each token's angles.
        sin: like ``cos``.

    Returns:
        [T, heads, dim], contiguous.
    """
    return _rotated(heads, cos, sin)


def norm_rotate_heads(
    heads: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    query_norm: torch.Tensor,
    key_norm: torch.Tensor,
    eps: float,
    queries: int,
) -> torch.Tensor:
    """As :func:`rotate_heads`, each head normalised before it, as in Qwen3.

    One kernel of our own on a GPU, see :mod:`pipeline.networks.triton_rotation`.

    Args:
        heads: [T, heads, dim], queries before keys.
        cos: [T, dim / 2].
        sin: like ``cos``.
        query_norm: [dim], weights of the queries' norm.
        key_norm: [dim], of the keys'.
        eps: added to the mean square.
        queries: how many of the heads are queries.
    """

    def kernel() -> torch.Tensor:
        from pipeline.networks.triton_rotation import norm_rotate

        return norm_rotate(heads, cos, sin, query_norm, key_norm, eps, queries)

    def plain() -> torch.Tensor:
        place = torch.arange(heads.shape[1], device=heads.device)[:, None]
        weight = torch.where(place < queries, query_norm, key_norm)
        return _rotated(_normed(heads, weight, eps), cos, sin)

    if not applies(heads):
        return plain()
    what = f"the Triton kernel for norms and rotations of heads of {heads.shape[2]}"
    return unless_refused(what, kernel, plain, instead="they go step by step")


@fused
def swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` (arXiv:2002.05202): [T, n] of [T, 2 n], where gate is the first half."""
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.silu(gate) * up


@fused
def geglu(gate_up: torch.Tensor) -> torch.Tensor:
    """As :func:`swiglu`, with GELU by tanh (arXiv:2002.05202, arXiv:1606.08415)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return functional.gelu(gate, approximate="tanh") * up


def _normed(
    rows: torch.Tensor, weight: torch.Tensor, eps: float, offset: bool = False
) -> torch.Tensor:
    wide = rows.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    if offset:
        return (wide * scale * (1 + weight.float())).to(rows.dtype)
    return weight * (wide * scale).to(rows.dtype)


def _rotated(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = heads.float().chunk(2, dim=-1)
    cos, sin = cos[:, None].float(), sin[:, None].float()
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(heads.dtype)
