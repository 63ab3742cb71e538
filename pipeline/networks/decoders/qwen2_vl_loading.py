"""Weights of Qwen-VL checkpoints, published as two towers and a vocabulary, into a reranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.networks.decoders.qwen2_vl import QwenVLReranker
    from pipeline.networks.loading import Rename
    from pipeline.prompts.qwen2_vl import Layout
    from pipeline.sequences.arrays import Floats

#: The output layer over the whole vocabulary, which no reranker computes.
_VOCABULARY: Final = "lm_head.weight"


def load_qwen_vl(
    checkpoint: Checkpoint,
    *,
    kind: str = "qwen2_vl",
    layout: Layout,
    levels: Floats,
    head: Callable[[], nn.Module],
    of_head: Rename | None = None,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> QwenVLReranker:
    """Qwen2-VL or Qwen3-VL in ``dtype`` with a head in float32.

    Args:
        checkpoint: its files.
        kind: ``model_type``: qwen2_vl or qwen3_vl.
        layout: of the checkpoint.
        levels: float32 [3, 256], what each level of each colour is to the network.
        head: makes the module that reads a token's state, float32 [r, hidden].
        of_head: what a tensor, under the network's name for it, gives the head besides; None where
            the head's own tensors are stored as ``score.*``.
        packed: whether sequences go through without padding.
        device: where to.
        dtype: of all but the head.

    Raises:
        ModelError: the configuration describes no such network, or a tensor is missing, unexpected
            or of the wrong shape.
    """
    from transformers import Qwen2VLModel, Qwen3VLModel

    from pipeline.networks.decoders.qwen2_vl import QwenVLReranker, packed_towers, stored_name
    from pipeline.networks.loading import build, load_weights
    from pipeline.networks.network_config import network_config

    where = checkpoint.folder / "config.json"
    config = network_config(checkpoint.config, kind=kind, where=where)
    model = {"qwen2_vl": Qwen2VLModel, "qwen3_vl": Qwen3VLModel}[kind]

    def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        ours = stored_name(name)
        if of_head is not None:
            yield from of_head(ours, tensor)
        if ours != _VOCABULARY:
            yield ours, tensor

    def reranker() -> QwenVLReranker:
        if packed:
            towers = packed_towers(config, kind=kind, where=where, dtype=dtype)
        else:
            towers = model(config)
        return QwenVLReranker(towers, head=head(), levels=levels, layout=layout, packed=packed)

    network = build(reranker, dtype=dtype, checkpoint=checkpoint)
    load_weights(network, checkpoint, rename=rename, heads=("score",), device=device)
    if packed:
        network.pack()
    return network
