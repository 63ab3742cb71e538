"""Cross-encoders with their weights: transformers' classifiers, and bodies with a chain behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from pipeline.networks.encoders.bodies import load_body, read_all
from pipeline.networks.encoders.kinds import ENCODERS
from pipeline.networks.encoders.packed_encoder import PackedClassifier
from pipeline.networks.encoders.skeletons import skeleton
from pipeline.networks.loading import build, build_own, load_weights
from pipeline.networks.module_chain import load_chain
from pipeline.networks.network_config import network_config
from pipeline.networks.padding import pad
from pipeline.networks.pooling import pool

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.checkpoints.sentence_transformers.cross_encoder_files import Chain
    from pipeline.sequences.batch import Batch

#: Old checkpoints store buffers that later code computes; they carry nothing.
_IGNORED: Final = ("*.embeddings.position_ids",)

#: Modes of pooling that look at the one token that a sequence is read at.
_ONE: Final = (("cls",), ("lasttoken",))


def load_classifier(
    checkpoint: Checkpoint, *, labels: int, packed: bool, device: torch.device, dtype: torch.dtype
) -> nn.Module:
    """The classifier that transformers has for a ``model_type``, its head in float32.

    Args:
        checkpoint: its files.
        labels: rows of the head.
        packed: whether batches come without padding.
        device: target.
        dtype: of the body.

    Returns:
        A module that takes a batch and gives float32 [b, labels].

    Raises:
        ModelError: no network, or a tensor is missing, unexpected or of the wrong shape.
    """
    stated = checkpoint.config
    kind = str(stated["model_type"])
    where = checkpoint.folder / "config.json"
    named = {key: value for key, value in stated.items() if key not in ("id2label", "label2id")}
    config = network_config(named | {"num_labels": labels}, kind=kind, where=where)
    network = build_classifier(checkpoint, config, kind=kind, packed=packed, dtype=dtype)
    heads = ENCODERS[kind].heads
    load_weights(network, checkpoint, ignore=_IGNORED, heads=heads, device=device)
    if packed:
        return PackedClassifier(network, kind)
    return PaddedClassifier(network, pad_id=int(stated.get("pad_token_id") or 0))


def build_classifier(
    checkpoint: Checkpoint, config: Any, *, kind: str, packed: bool, dtype: torch.dtype
) -> nn.Module:
    """An encoder and its head, without weights.

    Args:
        checkpoint: whose configuration it is, for messages.
        config: transformers' configuration.
        kind: its ``model_type``.
        packed: whether it is going to be packed; padded, it is transformers' own network.
        dtype: of its parameters.

    Raises:
        ModelError: no network can be made of the configuration.
    """
    made = skeleton(config, kind=kind, classifies=True) if packed else None
    if made is not None:
        return build_own(made, dtype=dtype, checkpoint=checkpoint)
    from transformers import AutoModelForSequenceClassification

    network: nn.Module = build(
        lambda: AutoModelForSequenceClassification.from_config(config, dtype=dtype),
        dtype=dtype,
        checkpoint=checkpoint,
    )
    return network


class PaddedClassifier(nn.Module):
    """A sequence-classification network of transformers over padded batches."""

    def __init__(self, network: Any, *, pad_id: int) -> None:
        super().__init__()
        self.network: Any = network
        self.pad_id = pad_id

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits of each sequence."""
        padded = pad(batch, self.pad_id)
        inputs = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
        if padded.segment_ids is not None:
            inputs["token_type_ids"] = padded.segment_ids
        logits: torch.Tensor = self.network(**inputs).logits
        return logits.float()


def load_chained(
    checkpoint: Checkpoint,
    chain: Chain,
    *,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.Module:
    """The body of the checkpoint and, in float32, the modules behind it.

    Args:
        checkpoint: its files.
        chain: what stands behind the body.
        packed: whether batches come without padding.
        device: target.
        dtype: of the body.

    Returns:
        A module that takes a batch and gives float32 [b, labels].

    Raises:
        ModelError: as :func:`load_classifier`.
    """
    body = load_body(
        checkpoint,
        packed=packed,
        reads="readouts" if chain.pooling in _ONE else "all",
        device=device,
        dtype=dtype,
    )
    layers = load_chain(checkpoint, chain.layers, device=device)
    pad_id = int(checkpoint.config.get("pad_token_id") or 0)
    return ChainedClassifier(body, layers, pooling=chain.pooling, packed=packed, pad_id=pad_id)


class ChainedClassifier(nn.Module):
    """A body, Pooling, and the modules that make logits of the pooled vector."""

    def __init__(
        self,
        body: Any,
        layers: nn.Module,
        *,
        pooling: tuple[str, ...],
        packed: bool,
        pad_id: int,
    ) -> None:
        super().__init__()
        self.body: Any = body
        self.layers = layers
        self.pooling = pooling
        self.packed = packed
        self.pad_id = pad_id

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits of each sequence."""
        return self.layers(self._pooled(batch))  # type: ignore[no-any-return]

    def _pooled(self, batch: Batch) -> torch.Tensor:
        """[b, modes * hidden]."""
        if self.packed and self.pooling in _ONE:
            return self.body(batch)  # type: ignore[no-any-return]
        states = read_all(self.body, batch, packed=self.packed, pad_id=self.pad_id)
        if self.pooling in _ONE:
            return states[batch.tensors.readout_rows]
        return pool(states, batch.lengths, modes=self.pooling)
