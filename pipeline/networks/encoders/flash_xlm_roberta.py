"""Weights of jina's flash XLM-RoBERTa (jina-reranker-v2, jina-colbert-v2) under BERT's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

_RENAMED: Final = (
    ("roberta.emb_ln.", "roberta.embeddings.LayerNorm."),
    ("roberta.encoder.layers.", "roberta.encoder.layer."),
    (".mixer.out_proj.", ".attention.output.dense."),
    (".norm1.", ".attention.output.LayerNorm."),
    (".norm2.", ".output.LayerNorm."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)


def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A stored tensor as the network's: query, key and value come in one, in this order.

    Args:
        name: as stored; the body is below ``roberta``.
        tensor: stored under it.
    """
    ours = name
    for theirs, our in _RENAMED:
        ours = ours.replace(theirs, our)
    if ".mixer.Wqkv." not in ours:
        yield ours, tensor
        return
    for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
        yield ours.replace(".mixer.Wqkv.", f".attention.self.{part}."), rows
