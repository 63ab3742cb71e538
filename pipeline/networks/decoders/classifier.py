"""Decoders with transformers' head for sequence classification: a linear layer named ``score``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pipeline.networks.decoders.loading import load_decoder, read_decoder, read_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.batch import Batch

#: The head's name in checkpoints, and in the module that :func:`load_classifier` gives.
HEAD: Final = "score"

#: transformers' head has none; a conversion may store one.
_BIAS: Final = f"{HEAD}.bias"

_LM_HEAD: Final = "lm_head.weight"


def load_classifier(
    checkpoint: Checkpoint,
    *,
    kind: str,
    labels: int,
    causal: bool = True,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.ModuleDict:
    """A decoder's body under ``model`` in ``dtype``, and its head under ``score`` in float32.

    Tensors of the body are stored with ``model.`` before their names or without it. A conversion
    from a language model may have kept its output layer, which no score depends on.

    Args:
        checkpoint: its files.
        kind: transformers' ``model_type`` of the body.
        labels: rows of ``score.weight`` [labels, hidden].
        causal: whether a token sees only those before it.
        packed: whether batches come without padding.
        device: where to.
        dtype: of the body.

    Raises:
        ModelError: as :func:`pipeline.networks.decoders.loading.load_decoder`.
    """
    output = (checkpoint.config.get("vocab_size"), checkpoint.config.get("hidden_size"))
    before: str | None = None

    def head(width: int) -> nn.Module:
        from torch import nn

        made = nn.Linear(width, labels)
        made.bias.data.zero_()
        return made

    def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        nonlocal before
        if name == _LM_HEAD and tuple(tensor.shape) == output:
            return
        if name.partition(".")[0] in (HEAD, "lm_head"):
            yield name, tensor
            return
        if before is None:  # one layout for the whole file, as the first tensor has it
            before = "" if name.startswith("model.") else "model."
        yield f"{before}{name}", tensor

    return load_decoder(
        checkpoint,
        kind=kind,
        heads={HEAD: head},
        rename=rename,
        optional=(_BIAS,),
        causal=causal,
        packed=packed,
        device=device,
        dtype=dtype,
    )


def read_last(network: Any, batch: Batch, *, packed: bool) -> torch.Tensor:
    """float32 [r, labels]: logits at every readout of a batch."""
    logits: torch.Tensor = network[HEAD](read_decoder(network["model"], batch, packed=packed))
    return logits


def read_pooled(network: Any, batch: Batch, *, packed: bool) -> torch.Tensor:
    """float32 [b, labels]: logits of the mean state of each sequence; loaded not causal."""
    logits: torch.Tensor = network[HEAD](read_mean(network["model"], batch, packed=packed))
    return logits
