"""Bodies whose token states are read, of a packed batch or of a padded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from inspect import signature
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from pipeline.networks.encoders.kinds import ENCODERS

if TYPE_CHECKING:
    import torch

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.networks.loading import Rename
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.batch import Batch

#: Stored tensors that carry nothing here: the pooler, and old buffers.
IGNORED: Final = ("embeddings.position_ids", "pooler.*")

#: Networks of an encoder and a decoder, of which the encoder alone makes vectors, as
#: sentence-transformers has it; transformers' class of it by ``model_type``.
_ENCODER_ALONE: Final = {
    "mt5": "MT5EncoderModel",
    "t5": "T5EncoderModel",
    "umt5": "UMT5EncoderModel",
}

#: Stored tensors of the rest of such a network.
_DECODING: Final = ("decoder.*", "lm_head.*")


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

    They are our own where :mod:`pipeline.networks.encoders.skeletons` knows them.

    Args:
        checkpoint: whose configuration it is, for messages.
        config: see :func:`body_config`.
        kind: its ``model_type``.
        dtype: of its parameters.

    Raises:
        ModelError: no network can be made of the configuration.
    """
    from pipeline.networks.encoders.skeletons import skeleton
    from pipeline.networks.loading import build_own

    made = skeleton(config, kind=kind, classifies=False)
    if made is None:
        return build_theirs(checkpoint, config, kind=kind, dtype=dtype)
    return build_own(made, dtype=dtype, checkpoint=checkpoint)


def build_theirs(checkpoint: Checkpoint, config: Any, *, kind: str, dtype: torch.dtype) -> Any:
    """transformers' own network of a configuration, without weights; else as :func:`build_body`."""
    import transformers

    from pipeline.networks.loading import build

    encoder = _ENCODER_ALONE.get(kind)
    extra = {"add_pooling_layer": False} if encoder is None and _may_pool(config) else {}

    def make() -> Any:
        if encoder is not None:
            return _one_table(getattr(transformers, encoder)(config))
        return transformers.AutoModel.from_config(config, dtype=dtype, **extra)

    return build(make, dtype=dtype, checkpoint=checkpoint)


def _one_table(network: Any) -> Any:
    """The same, with the embeddings of its encoder for its own, as T5 has them."""
    network.set_input_embeddings(network.get_input_embeddings())
    return network


def _may_pool(config: Any) -> bool:
    """Whether a body comes with a pooler unless told otherwise.

    It belongs to BERT's sentence-pair task: no pooling of sentence-transformers looks at it, and
    the library saves bodies without.
    """
    from transformers import MODEL_MAPPING

    made = MODEL_MAPPING.get(type(config), None)
    return isinstance(made, type) and "add_pooling_layer" in signature(made).parameters


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
        packed: whether batches come without padding; see
            :func:`pipeline.networks.encoders.kinds.packs`.
        reads: see :class:`pipeline.networks.encoders.packed_encoder.PackedEncoder`.
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
    rename = _out_of_larger(network, checkpoint)
    alone = kind in _ENCODER_ALONE
    load_weights(
        network,
        checkpoint,
        rename=rename,
        ignore=(*IGNORED, *_DECODING) if alone else IGNORED,
        converted=not alone,  # T5's layers look at the weights of their linear ones
        device=device,
    )
    if not packed:
        return network
    from pipeline.networks.encoders.packed_encoder import PackedEncoder

    return PackedEncoder(network, kind, reads=reads)


def _out_of_larger(network: Any, checkpoint: Checkpoint) -> Rename | None:
    """What takes a body out of a network that holds it, such as a masked language model.

    Its tensors then have a name before theirs (``bert.``, ``model.``), and the others are heads
    that no vector depends on: transformers passes over them as well. None where a body was stored
    by itself.
    """
    before = f"{network.base_model_prefix}."
    if any(name.startswith(before) for name in network.state_dict()) or not any(
        name.startswith(before) for name in checkpoint.shapes()
    ):
        return None

    def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        own = name.removeprefix(before)
        if own != name and not any(fnmatchcase(own, pattern) for pattern in IGNORED):
            yield own, tensor

    return rename


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

    from pipeline.networks.attention.plan import to_device
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
