"""Decoders with heads at the readouts: packed ones of ours, padded ones of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.networks.loading import Rename
    from pipeline.sequences.batch import Batch

#: Decoders that run without padding, by ``model_type``.
PACKABLE: Final = frozenset({"gemma", "llama", "mistral", "qwen2", "qwen3"})

#: What their feed-forward layers compute with (``hidden_act`` of config.json). Gemma's first files
#: say gelu and mean its approximation by tanh, as transformers' GemmaConfig has it.
_ACTIVATIONS: Final = {"gemma": ("gelu", "gelu_pytorch_tanh")}
_ACTIVATION: Final = ("silu",)

#: Those whose configurations drop the window unless they are told to use it.
_DROPS_WINDOWS: Final = frozenset({"qwen2", "qwen3"})

#: Old checkpoints store buffers that later code computes.
_IGNORED: Final = ("*.rotary_emb.inv_freq",)

#: Of :func:`load_log_odds`: the row that is left of the output layer, under its name.
_OUTPUT: Final = "lm_head"


def can_pack(config: Mapping[str, Any]) -> bool:
    """Whether a decoder runs without padding, by its config.json.

    transformers runs the others, padded.
    """
    rotary = config.get("rope_parameters") or config.get("rope_scaling")
    kind = rotary.get("rope_type", rotary.get("type")) if isinstance(rotary, Mapping) else None
    model_type = config.get("model_type")
    activations = _ACTIVATIONS.get(str(model_type), _ACTIVATION)
    return (
        model_type in PACKABLE
        and config.get("hidden_act", activations[-1]) in activations
        and not turns_by_batch(str(kind))
    )


def turns_by_batch(rope_type: str) -> bool:
    """Whether rotary angles depend on the longest sequence of a batch, as transformers has them."""
    return "dynamic" in rope_type or rope_type == "longrope"


def can_share(config: Mapping[str, Any]) -> bool:
    """Whether every layer of a decoder sees all that came before, by its config.json."""
    if config.get("model_type") == "mistral":  # transformers has a window where nothing is said
        return config.get("sliding_window", 4096) is None
    return not config.get("use_sliding_window") and "sliding_attention" not in (
        config.get("layer_types") or ()
    )


def windows_hold(config: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """What a decoder's configuration is given, so that layers that slide have their window.

    transformers' Qwen2Config and Qwen3Config drop ``sliding_window`` where ``use_sliding_window``
    is false or absent, and leave ``layer_types`` as it is; their networks then fail on it.

    Raises:
        ModelError: layers slide, and the file says that there is no window.
    """
    if "sliding_attention" not in (config.get("layer_types") or ()):
        return {}
    window = config.get("sliding_window", 1)  # absent, it is transformers' own default
    if not isinstance(window, int) or window < 1:
        raise ModelError(
            f"{where}: layer_types has sliding_attention and sliding_window is {window!r}, "
            "expected the number of tokens that a token sees there; is the file complete?"
        )
    return {"use_sliding_window": True}


def load_decoder(
    checkpoint: Checkpoint,
    *,
    kind: str,
    heads: Mapping[str, Callable[[int], nn.Module]],
    rename: Rename | None = None,
    ignore: Sequence[str] = (),
    optional: Sequence[str] = (),
    causal: bool = True,
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.ModuleDict:
    """A decoder's body in ``dtype`` under ``model``, and heads in float32 under their names.

    Args:
        checkpoint: its files.
        kind: ``model_type``; one of :data:`PACKABLE` where ``packed``.
        heads: make modules that take states, given the width of a state.
        rename: a stored (name, tensor) to the network's pairs.
        ignore: patterns of stored names that carry nothing.
        optional: patterns of names in heads that the file may lack; they keep what they hold.
        causal: whether a token sees only those before it.
        packed: whether batches come without padding.
        device: where to.
        dtype: of the body.

    Raises:
        ModelError: the configuration describes no such decoder, or a tensor is missing,
            unexpected or of the wrong shape.
    """
    from torch import nn

    from pipeline.networks.loading import build, load_weights
    from pipeline.networks.network_config import network_config

    where = checkpoint.folder / "config.json"
    given: dict[str, Any] = {}
    if not causal:  # transformers' masks go by this word, of any configuration (masking_utils)
        given["is_causal"] = False
    if kind in _DROPS_WINDOWS:
        given |= windows_hold(checkpoint.config, where)
    config = network_config(checkpoint.config, kind=kind, where=where, **given)

    def with_heads(body: nn.Module) -> nn.ModuleDict:
        made = {name: head(config.hidden_size) for name, head in heads.items()}
        return nn.ModuleDict({"model": body, **made})

    if packed:
        from pipeline.networks.decoders.packed_decoder import PackedDecoder
        from pipeline.networks.decoders.shape import DecoderShape

        shape = DecoderShape.of(config, kind=kind, where=where)
        network = with_heads(PackedDecoder(shape, dtype=dtype))
    else:
        from transformers import AutoModel

        network = build(
            lambda: with_heads(AutoModel.from_config(config, dtype=dtype)),
            dtype=dtype,
            checkpoint=checkpoint,
        )
    load_weights(
        network,
        checkpoint,
        rename=rename,
        ignore=(*_IGNORED, *ignore),
        optional=optional,
        heads=tuple(heads),
        device=device,
    )
    return network


def load_log_odds(
    checkpoint: Checkpoint,
    *,
    kind: str,
    answers: tuple[int, int | None],
    packed: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> nn.ModuleDict:
    """A decoder that is asked for one of two tokens, or for one; see :func:`read_log_odds`.

    Of the output layer, or of the embedding table that is tied to it, one row is left: the
    difference of the two tokens' rows, or the one token's, in float32.

    Args:
        checkpoint: its files.
        kind: ``model_type``, one of :data:`PACKABLE`.
        answers: id of the token whose logit counts, and of that whose logit is taken off it.
        packed: whether batches come without padding.
        device: where to.
        dtype: of the body.

    Raises:
        ModelError: as :func:`load_decoder`.
    """
    from torch import nn

    output = f"{_OUTPUT}.weight"
    # As transformers' configurations of these families, where nothing is said.
    tied = bool(checkpoint.config.get("tie_word_embeddings", kind == "gemma"))
    table = "model.embed_tokens.weight" if tied else output

    def rename(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        if name == table:
            first, second = answers
            row = tensor[first].float()
            yield output, (row if second is None else row - tensor[second].float())[None]
        if name != output:
            yield name, tensor

    return load_decoder(
        checkpoint,
        kind=kind,
        heads={_OUTPUT: lambda width: nn.Linear(width, 1, bias=False)},
        rename=rename,
        packed=packed,
        device=device,
        dtype=dtype,
    )


def read_log_odds(network: Any, batch: Batch, *, packed: bool) -> torch.Tensor:
    """float32 [r, 1]: the log-odds of the answers, or the one answer's logit, at every readout."""
    log_odds: torch.Tensor = network[_OUTPUT](read_decoder(network["model"], batch, packed=packed))
    return log_odds


def read_decoder(body: Any, batch: Batch, *, packed: bool) -> torch.Tensor:
    """[r, hidden]: the last states at every readout of a batch.

    Where the batch is padded, that is on the right, where a causal network never looks, so it needs
    no mask but that of its windows. Saying so by the layers' own word (Qwen2 and Qwen3 have one)
    keeps transformers from looking for packed sequences, a synchronisation with the device.
    """
    states: torch.Tensor
    if packed:
        from pipeline.networks.packed import pack

        flat = pack(batch, causal=True)
        embedded = body.embed_tokens(flat.input_ids[0])
        states = body(embedded, flat.position_ids[0], flat.plan, flat.reading)
        return states
    from pipeline.networks.padding import pad

    padded = pad(batch, 0)
    mask = None if getattr(body, "has_sliding_layers", True) else {"full_attention": None}
    states = body(
        input_ids=padded.input_ids, attention_mask=mask, use_cache=False
    ).last_hidden_state
    return states[padded.readout_rows, padded.readout_columns]


def read_mean(body: Any, batch: Batch, *, packed: bool) -> torch.Tensor:
    """float32 [b, hidden]: the mean of the last states of each sequence of a batch.

    The body was loaded with ``causal=False``: a token sees all of its sequence.
    """
    if packed:
        import torch

        from pipeline.networks.packed import Reading, mean, pack

        flat = pack(batch, causal=False)
        every = Reading(rows=torch.arange(len(flat.input_ids[0]), device=batch.device), plan=None)
        embedded = body.embed_tokens(flat.input_ids[0])
        return mean(body(embedded, flat.position_ids[0], flat.plan, every), batch.lengths)
    from pipeline.networks.padding import pad

    padded = pad(batch, 0)
    inputs = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
    states = body(**inputs, use_cache=False).last_hidden_state.float()
    seen = padded.attention_mask[..., None].to(states.dtype)
    total: torch.Tensor = (states * seen).sum(1)
    return total / seen.sum(1)
