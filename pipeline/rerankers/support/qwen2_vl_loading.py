"""Weights of Qwen2-VL checkpoints, published as two towers and a vocabulary, into a reranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.rerankers.base import Floats
    from pipeline.rerankers.support.checkpoint import Checkpoint
    from pipeline.rerankers.support.loading import Rename
    from pipeline.rerankers.support.networks.qwen2_vl import Qwen2VLReranker
    from pipeline.rerankers.support.qwen2_vl import Layout

#: Means and deviations of CLIP's training images, which Qwen2-VL's processor normalises by.
_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)

#: The output layer over the whole vocabulary, which no reranker computes.
_VOCABULARY: Final = "lm_head.weight"


def load_qwen2_vl(
    checkpoint: Checkpoint,
    *,
    layout: Layout,
    head: Callable[[], nn.Module],
    of_head: Rename | None = None,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Qwen2VLReranker:
    """transformers' Qwen2-VL in ``dtype`` with a head in float32.

    Args:
        checkpoint: its files.
        layout: of the checkpoint.
        head: makes the module that reads a token's state, float32 [r, hidden].
        of_head: what a tensor, under the network's name for it, gives the head besides; None where
            the head's own tensors are stored as ``score.*``.
        packed: whether sequences go through without padding.
        device: where to.
        dtype: of all but the head.

    Raises:
        ModelError: a tensor is missing, unexpected or of the wrong shape.
    """
    from pipeline.rerankers.support.loading import build, load_weights
    from pipeline.rerankers.support.network_config import network_config
    from pipeline.rerankers.support.networks.qwen2_vl import Qwen2VLReranker, stored_name

    where = checkpoint.folder / "config.json"
    config = network_config(checkpoint.config, kind="qwen2_vl", where=where)
    levels = normalised_levels(checkpoint)

    def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        ours = stored_name(name)
        if of_head is not None:
            yield from of_head(ours, tensor)
        if ours != _VOCABULARY:
            yield ours, tensor

    network = build(
        lambda: Qwen2VLReranker(config, head=head(), levels=levels, layout=layout, packed=packed),
        dtype=dtype,
        checkpoint=checkpoint,
    )
    load_weights(network, checkpoint, rename=rename, heads=("score",), device=device)
    if packed:
        network.pack()
    return network


def normalised_levels(checkpoint: Checkpoint) -> Floats:
    """float32 [3, 256]: what each level of each colour is to the network.

    Exactly ``float32(float64(level) / 255)``, then less the mean and over the deviation in
    float32, as Qwen2-VL's processor does; so pixels travel as uint8 and nothing is rounded twice.
    """
    stated = checkpoint.json("preprocessor_config.json")
    scale = float(stated.get("rescale_factor", 0.00392156862745098))
    mean = np.array(stated.get("image_mean", _MEAN), dtype=np.float32)[:, None]
    deviation = np.array(stated.get("image_std", _DEVIATION), dtype=np.float32)[:, None]
    levels = (np.arange(256, dtype=np.float64) * scale).astype(np.float32)
    return np.asarray((levels - mean) / deviation, dtype=np.float32)
