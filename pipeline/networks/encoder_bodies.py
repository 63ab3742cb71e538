"""Bodies whose token states are read, of a packed batch or of a padded one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from pipeline.networks.encoders import ENCODERS

if TYPE_CHECKING:
    import torch

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.batch import Batch

#: Stored tensors that carry nothing here: the pooler, and old buffers.
IGNORED: Final = ("embeddings.position_ids", "pooler.*")


def reserved_positions(config: Mapping[str, Any]) -> int:
    """How many of ``max_position_embeddings`` no token can use, by config.json."""
    encoder = ENCODERS.get(str(config.get("model_type")))
    return 0 if encoder is None else encoder.reserved


def body_config(checkpoint: Checkpoint) -> Any:
    """transformers' configuration of the checkpoint's ``model_type``.

    Raises:
        ModelError: transformers has no such network, or refuses a value.
    """
    from pipeline.networks.network_config import network_config

    kind = str(checkpoint.config.get("model_type"))
    return network_config(checkpoint.config, kind=kind, where=checkpoint.folder / "config.json")


def build_body(checkpoint: Checkpoint, config: Any, *, kind: str, dtype: torch.dtype) -> Any:
    """The modules of an encoder that is going to be packed, without weights.

    They are our own where :mod:`pipeline.networks.encoder_skeletons` knows them.

    Args:
        checkpoint: whose configuration it is, for messages.
        config: see :func:`body_config`.
        kind: its ``model_type``.
        dtype: of its parameters.

    Raises:
        ModelError: no network can be made of the configuration.
    """
    from pipeline.networks.encoder_skeletons import skeleton
    from pipeline.networks.unfilled import build_own

    made = skeleton(config, kind=kind, classifies=False)
    if made is None:
        return build_theirs(checkpoint, config, kind=kind, dtype=dtype)
    return build_own(made, dtype=dtype, checkpoint=checkpoint)


def build_theirs(checkpoint: Checkpoint, config: Any, *, kind: str, dtype: torch.dtype) -> Any:
    """transformers' own network of a configuration, without weights; else as :func:`build_body`."""
    from transformers import AutoModel

    from pipeline.networks.loading import build

    pooled = kind in ENCODERS and ENCODERS[kind].pooled
    extra = {"add_pooling_layer": False} if pooled else {}
    return build(
        lambda: AutoModel.from_config(config, dtype=dtype, **extra),
        dtype=dtype,
        checkpoint=checkpoint,
    )


def load_body(
    checkpoint: Checkpoint,
    *,
    packed: bool,
    reads: Literal["readouts", "all"],
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """The network with its weights, as :func:`read_all` and, packed, the engine's batches take it.

    Args:
        checkpoint: its files.
        packed: whether batches come without padding; see :func:`pipeline.networks.encoders.packs`.
        reads: see :class:`pipeline.networks.packed_encoder.PackedEncoder`.
        device: target.
        dtype: of the network.

    Raises:
        ModelError: the configuration describes no network, or a tensor is missing, unexpected or
            of the wrong shape.
    """
    from pipeline.networks.loading import load_weights

    kind = str(checkpoint.config.get("model_type"))
    make = build_body if packed else build_theirs
    network = make(checkpoint, body_config(checkpoint), kind=kind, dtype=dtype)
    load_weights(network, checkpoint, ignore=IGNORED, device=device)
    if not packed:
        return network
    from pipeline.networks.packed_encoder import PackedEncoder

    return PackedEncoder(network, kind, reads=reads)


def read_all(
    body: Any, batch: Batch, *, packed: bool, pad_id: int, attended: Int64s | None = None
) -> torch.Tensor:
    """[T, hidden]: the states of all tokens of a batch, one sequence after the other.

    Args:
        body: of :func:`load_body`, where it reads all.
        batch: what goes through it.
        packed: as it was loaded.
        pad_id: token that fills what is padded.
        attended: int64 [b], how many leading tokens of each sequence others see; all where None.
    """
    if packed:
        states: torch.Tensor = body.states(body.pack(batch, attended))
        return states
    import torch

    from pipeline.networks.attention_plan import to_device
    from pipeline.networks.padding import pad
    from pipeline.sequences.ragged import ragged_range

    padded = pad(batch, pad_id)
    mask = padded.attention_mask
    width = mask.shape[1]
    if attended is not None:
        columns = torch.arange(width, device=batch.device)
        mask = (columns < to_device(attended, batch.device)[:, None]).long()
    segments = {} if padded.segment_ids is None else {"token_type_ids": padded.segment_ids}
    hidden = body(input_ids=padded.input_ids, attention_mask=mask, **segments).last_hidden_state
    rows = ragged_range(np.arange(len(batch.lengths), dtype=np.int64) * width, batch.lengths)
    return hidden.flatten(0, 1)[to_device(rows, batch.device)]  # type: ignore[no-any-return]
