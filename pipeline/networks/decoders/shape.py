"""Sizes and switches of a packed decoder, from transformers' configuration of its family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from pipeline.checkpoints.values import number, whole_number
from pipeline.errors import ModelError
from pipeline.networks.decoders.loading import turns_by_batch

#: How many pairs of a head turn with time, row and column where the file says nothing: Qwen2-VL
#: (arXiv:2409.12191) and Qwen3-VL (arXiv:2511.21631), as transformers has them.
_SECTIONS: Final = {"qwen2_vl": (16, 24, 24), "qwen3_vl": (24, 20, 20)}

_OTHERWISE: Final = "; engine.packing: padded runs it with transformers' own network"


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """What a :class:`pipeline.networks.decoders.packed_decoder.PackedDecoder` is made of.

    Attributes:
        vocabulary: rows of the embedding table.
        hidden: width of a token's state.
        intermediate: width of the feed-forward layer.
        heads: of queries.
        key_heads: of keys and of values; groups of query heads share them.
        head_dim: width of a head.
        eps: of every normalisation.
        norm_offset: whether norms multiply by one more than their weights, before rounding.
        input_scale: what the embeddings of tokens are multiplied by.
        activation: of the feed-forward layer, by transformers' name.
        input_bias: whether query, key and value have one.
        output_bias: whether the output of attention has one.
        mlp_bias: whether the feed-forward layer has one.
        head_norm: whether each query and key head is normalised.
        windows: for each layer, how many tokens a token sees, itself included; None for all.
        inverse_frequencies: float32 [head_dim / 2], angle for each step of position.
        table_scale: of the rotary tables.
        sections: columns of an angle table that turn with time, row and column; None where
            positions have one axis.
        interleaved: whether these columns alternate (Qwen3-VL); else they are three parts.
    """

    vocabulary: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head_dim: int
    eps: float
    norm_offset: bool
    input_scale: float
    activation: str
    input_bias: bool
    output_bias: bool
    mlp_bias: bool
    head_norm: bool
    windows: tuple[int | None, ...]
    inverse_frequencies: torch.Tensor
    table_scale: float
    sections: tuple[int, ...] | None
    interleaved: bool = False

    @classmethod
    def of(cls, config: Any, *, kind: str, where: Path) -> DecoderShape:
        """Of a family whose layers are Llama's, but for what its name stands for.

        Args:
            config: of transformers; of Qwen2-VL and Qwen3-VL that of the text.
            kind: ``model_type``: gemma, llama, mistral, qwen2, qwen3, qwen2_vl or qwen3_vl.
            where: config.json, for messages.

        Raises:
            ModelError: a size makes no sense, or the network computes something else.
        """
        values = vars(config)
        size = {
            key: whole_number(values, key, where=where)
            for key in (
                "vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "num_key_value_heads",
            )
        }
        heads, key_heads = size["num_attention_heads"], size["num_key_value_heads"]
        if heads % key_heads:
            raise ModelError(
                f"{where}: num_attention_heads {heads} is no multiple of num_key_value_heads "
                f"{key_heads}, so no groups of heads share keys"
            )
        head_dim = getattr(config, "head_dim", None) or size["hidden_size"] // heads
        activation = "gelu_pytorch_tanh" if kind == "gemma" else "silu"
        if config.hidden_act != activation:
            raise ModelError(
                f"{where}: hidden_act '{config.hidden_act}', expected '{activation}'{_OTHERWISE}"
            )
        frequencies, scale = rotary_frequencies(config, head_dim, where)
        attention_bias = bool(getattr(config, "attention_bias", False))
        return cls(
            vocabulary=size["vocab_size"],
            hidden=size["hidden_size"],
            intermediate=size["intermediate_size"],
            heads=heads,
            key_heads=key_heads,
            head_dim=head_dim,
            eps=number(values, "rms_norm_eps", where=where),
            norm_offset=kind == "gemma",
            input_scale=size["hidden_size"] ** 0.5 if kind == "gemma" else 1.0,
            activation=activation,
            input_bias=attention_bias or kind in ("qwen2", "qwen2_vl"),
            output_bias=attention_bias and kind in ("gemma", "llama", "qwen3", "qwen3_vl"),
            mlp_bias=bool(getattr(config, "mlp_bias", False)) and kind == "llama",
            head_norm=kind in ("qwen3", "qwen3_vl"),
            windows=_windows(config, kind, size["num_hidden_layers"], where),
            inverse_frequencies=frequencies,
            table_scale=scale,
            sections=_sections(config, kind, head_dim, where) if kind in _SECTIONS else None,
            interleaved=kind == "qwen3_vl",
        )


def rotary_frequencies(config: Any, head_dim: int, where: Path) -> tuple[torch.Tensor, float]:
    """float32 [head_dim / 2], and what the tables are multiplied by.

    The default is arXiv:2104.09864's; transformers computes every other kind.

    Raises:
        ModelError: the frequencies would depend on the longest sequence of a batch, or are not
            half as many as a head is wide.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = config.rope_parameters
    kind = parameters["rope_type"]
    if kind == "default":
        steps = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        frequencies, scale = 1.0 / parameters["rope_theta"] ** steps, 1.0
    elif turns_by_batch(kind) or kind not in ROPE_INIT_FUNCTIONS:
        raise ModelError(
            f"{where}: rope_type '{kind}' is not one whose angles depend on a token's position "
            f"alone{_OTHERWISE}"
        )
    else:
        frequencies, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    if 2 * len(frequencies) != head_dim:
        raise ModelError(
            f"{where}: rotary positions turn {2 * len(frequencies)} of a head's {head_dim} "
            "numbers (partial_rotary_factor, or an odd head_dim), expected all of them"
        )
    return frequencies, float(scale)


def _windows(config: Any, kind: str, layers: int, where: Path) -> tuple[int | None, ...]:
    if kind in ("gemma", "llama", "qwen3_vl"):
        return (None,) * layers
    if kind == "mistral":  # which says it for all layers
        return (config.sliding_window,) * layers
    window = {"full_attention": None, "sliding_attention": config.sliding_window}
    types = list(config.layer_types)
    if len(types) != layers or not set(types) <= window.keys():
        raise ModelError(
            f"{where}: layer_types is {types}, expected {' or '.join(window)} for each of "
            f"num_hidden_layers {layers}"
        )
    return tuple(window[kind] for kind in types)


def _sections(config: Any, kind: str, head_dim: int, where: Path) -> tuple[int, ...]:
    sections = tuple(config.rope_parameters.get("mrope_section", _SECTIONS[kind]))
    if len(sections) != len(_SECTIONS[kind]) or 2 * sum(sections) != head_dim:
        raise ModelError(
            f"{where}: mrope_section is {list(sections)}, expected three numbers (time, row, "
            f"column) whose sum is half of a head's {head_dim}"
        )
    return sections
