"""Dense and LayerNorm modules of sentence-transformers, with their weights, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.checkpoints.sentence_transformers.module_chain import Dense, LayerNorm
from pipeline.networks.loading import copy_tensors

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint


class DenseLayer(nn.Module):
    """The library's Dense (base/modules/dense.py); names of its weights are the stored ones."""

    def __init__(self, layer: Dense) -> None:
        super().__init__()
        self.linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
        self.activation: nn.Module = getattr(nn, layer.activation)()
        self.adds_input = layer.residual
        self.residual: nn.Linear | None = None
        if layer.residual and layer.inputs != layer.outputs:
            self.residual = nn.Linear(layer.inputs, layer.outputs, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [..., outputs] of [..., inputs]."""
        vectors = vectors.float()
        out: torch.Tensor = self.activation(self.linear(vectors))
        if not self.adds_input:
            return out
        return out + (vectors if self.residual is None else self.residual(vectors))


class NormLayer(nn.Module):
    """The library's LayerNorm; names of its weights are the stored ones."""

    def __init__(self, layer: LayerNorm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(layer.width)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32 [..., width] of [..., width]."""
        return self.norm(vectors.float())  # type: ignore[no-any-return]


def load_chain(
    checkpoint: Checkpoint, layers: Sequence[Dense | LayerNorm], *, device: torch.device
) -> nn.Sequential:
    """The layers one after the other, float32 whatever the network before them computes in.

    Args:
        checkpoint: where their folders are.
        layers: that fit each other, see
            :func:`pipeline.checkpoints.sentence_transformers.module_chain.layers`.
        device: target.

    Raises:
        ModelError: a tensor is missing, unexpected or of the wrong shape; a file is damaged or not
            the planned one.
    """
    made: list[nn.Module] = []
    for layer in layers:
        module = DenseLayer(layer) if isinstance(layer, Dense) else NormLayer(layer)
        copy_tensors(
            module.float(),
            checkpoint.module_tensors(layer.folder),
            where=checkpoint.folder / layer.folder,
        )
        made.append(module)
    return nn.Sequential(*made).to(device).eval().requires_grad_(False)
