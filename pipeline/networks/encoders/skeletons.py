"""The modules of encoders and their classifiers under the names that checkpoints store them by.

Packed networks have a forward pass of their own (:mod:`.packed_bert`, :mod:`.packed_modernbert`),
so of transformers' networks they need the modules and their names alone. Importing transformers'
networks takes four seconds of a CPU in each process that holds a replica; these take none. What is
not known here (:func:`skeleton` gives None) is made of transformers' own modules, with the same
results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import nn

from pipeline.networks.rotary import ROTATES, Rotary

#: Where a classifier holds its body.
_BODY: Final[Mapping[str, str]] = {
    "bert": "bert",
    "electra": "electra",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
    "modernbert": "model",
    "jina_embeddings_v3": "roberta",
}

#: By transformers' names (activations.py).
_ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "gelu": nn.GELU,
    "gelu_new": lambda: nn.GELU(approximate="tanh"),
    "gelu_pytorch_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def skeleton(config: Any, *, kind: str, classifies: bool) -> Callable[[], nn.Module] | None:
    """Makes the modules of an encoder, or None where they are transformers' own to make.

    Args:
        config: transformers' configuration.
        kind: its ``model_type``.
        classifies: whether with the head of transformers' sequence classification, body and head
            under its names; else the body alone, without a pooler.
    """
    if kind not in _BODY or not _known(config, kind, classifies):
        return None

    def make() -> nn.Module:
        body = modernbert(config) if kind == "modernbert" else bert(config, kind)
        return classifier(body, kind) if classifies else body

    return make


def _known(config: Any, kind: str, classifies: bool) -> bool:
    if kind != "modernbert":
        return True
    gates = [config.hidden_activation, *([config.classifier_activation] if classifies else [])]
    kinds = {config.rope_parameters[layers]["rope_type"] for layers in set(config.layer_types)}
    return set(gates) <= _ACTIVATIONS.keys() and kinds == {"default"}


def bert(config: Any, kind: str) -> nn.Module:
    """The body of BERT, ELECTRA, RoBERTa, XLM-RoBERTa or CamemBERT; XLM-R's may rotate instead.

    Raises:
        ValueError: heads do not share the width evenly.
    """
    width, heads = config.hidden_size, config.num_attention_heads
    _divisible(width, heads)
    narrow = config.embedding_size if kind == "electra" else width
    norm = {"eps": config.layer_norm_eps}
    rotates = kind == "jina_embeddings_v3"
    body: Any = _named(
        embeddings=_named(
            word_embeddings=nn.Embedding(config.vocab_size, narrow),
            token_type_embeddings=nn.Embedding(config.type_vocab_size, narrow),
            LayerNorm=nn.LayerNorm(narrow, **norm),
        ),
        encoder=_named(
            layer=nn.ModuleList(_bert_layer(config) for _ in range(config.num_hidden_layers))
        ),
    )
    if rotates:
        theta = config.rope_parameters["rope_theta"]
        body.rotary_emb = Rotary({ROTATES: theta}, width // heads)
    else:
        body.embeddings.position_embeddings = nn.Embedding(config.max_position_embeddings, narrow)
    if narrow != width:
        body.embeddings_project = nn.Linear(narrow, width)
    return _described(body, config, kind)


def _bert_layer(config: Any) -> nn.Module:
    width, inner = config.hidden_size, config.intermediate_size
    heads = config.num_attention_heads

    def residual(inputs: int) -> nn.Module:
        norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        return _named(dense=nn.Linear(inputs, width), LayerNorm=norm)

    asking: Any = _named(**{part: nn.Linear(width, width) for part in ("query", "key", "value")})
    asking.num_attention_heads, asking.scaling = heads, (width // heads) ** -0.5
    attention = _named(output=residual(width))
    attention.add_module("self", asking)
    return _named(
        attention=attention,
        intermediate=Intermediate(nn.Linear(width, inner), _activation(config.hidden_act)),
        output=residual(inner),
    )


def _activation(name: str) -> nn.Module:
    """The function of BERT's feed-forward layer; transformers' own where we have none.

    Raises:
        ValueError: transformers has none by that name either.
    """
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]()
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise ValueError(f"hidden_act '{name}' is none of {', '.join(sorted(ACT2FN))}")
    return ACT2FN[name]  # type: ignore[no-any-return]


def modernbert(config: Any) -> nn.Module:
    """The body of ModernBERT.

    Raises:
        ValueError: heads do not share the width evenly.
    """
    _divisible(config.hidden_size, config.num_attention_heads)
    body = _named(
        embeddings=_named(
            tok_embeddings=nn.Embedding(config.vocab_size, config.hidden_size),
            norm=_modernbert_norm(config),
        ),
        layers=nn.ModuleList(
            _modernbert_layer(config, number) for number in range(config.num_hidden_layers)
        ),
        final_norm=_modernbert_norm(config),
        rotary_emb=Rotary(
            {kind: turns["rope_theta"] for kind, turns in config.rope_parameters.items()},
            config.hidden_size // config.num_attention_heads,
        ),
    )
    return _described(body, config, "modernbert")


def _modernbert_layer(config: Any, number: int) -> Any:
    width, inner = config.hidden_size, config.intermediate_size
    kind = config.layer_types[number]
    attention: Any = _named(
        Wqkv=nn.Linear(width, 3 * width, bias=config.attention_bias),
        Wo=nn.Linear(width, width, bias=config.attention_bias),
    )
    attention.head_dim = width // config.num_attention_heads
    # A token sees so many to either side, itself among them.
    attention.sliding_window = config.sliding_window + 1 if kind == "sliding_attention" else None
    layer: Any = _named(
        attn_norm=_modernbert_norm(config) if number else nn.Identity(),
        attn=attention,
        mlp_norm=_modernbert_norm(config),
        mlp=Gated(
            nn.Linear(width, 2 * inner, bias=config.mlp_bias),
            _ACTIVATIONS[config.hidden_activation](),
            nn.Linear(inner, width, bias=config.mlp_bias),
        ),
    )
    layer.attention_type = kind
    return layer


def _modernbert_norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


def classifier(body: nn.Module, kind: str) -> nn.Module:
    """A body with the head of transformers' sequence classification, under its names.

    Its attribute ``base_model`` is the body.
    """
    config: Any = body.config
    width, labels = config.hidden_size, config.num_labels
    whole: Any = _named(**{_BODY[kind]: body})
    if kind == "bert":
        body.add_module("pooler", First(dense=nn.Linear(width, width), activation=nn.Tanh()))
        whole.add_module("classifier", nn.Linear(width, labels))
    elif kind == "modernbert":
        dense = nn.Linear(width, width, bias=config.classifier_bias)
        activation = _ACTIVATIONS[config.classifier_activation]()
        whole.add_module("head", InTurn(dense=dense, act=activation, norm=_modernbert_norm(config)))
        whole.add_module("classifier", nn.Linear(width, labels))
    else:
        dense, activation = nn.Linear(width, width), nn.GELU() if kind == "electra" else nn.Tanh()
        whole.add_module(
            "classifier",
            First(dense=dense, activation=activation, out_proj=nn.Linear(width, labels)),
        )
    whole.config = config
    object.__setattr__(whole, "base_model", body)  # no second place in the state dict
    return whole  # type: ignore[no-any-return]


class InTurn(nn.Module):
    """Modules that are run one after the other, under the names that they are stored by."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, in] to [n, out]."""
        for part in self.children():
            rows = part(rows)
        return rows


class First(InTurn):
    """A head of the first row of each sequence: BERT's pooler, the others' classifiers."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[b, length, in] to [b, out]."""
        return super().forward(rows[:, 0])


class Intermediate(InTurn):
    """The first half of BERT's feed-forward layer."""

    def __init__(self, dense: nn.Linear, activation: nn.Module) -> None:
        super().__init__(dense=dense, intermediate_act_fn=activation)


class Gated(nn.Module):
    """ModernBERT's feed-forward layer: half of what goes in gates the other half."""

    def __init__(self, inner: nn.Linear, activation: nn.Module, outer: nn.Linear) -> None:
        super().__init__()
        self.Wi, self.act, self.Wo = inner, activation, outer

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, hidden] to [n, hidden]."""
        gate, plain = self.Wi(rows).chunk(2, dim=-1)
        return self.Wo(self.act(gate) * plain)  # type: ignore[no-any-return]


def _named(**parts: nn.Module) -> nn.Module:
    """A module that holds others, and computes nothing itself."""
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


def _described(body: nn.Module, config: Any, kind: str) -> nn.Module:
    """The body with what transformers' has beside its modules."""
    body.config = config
    body.base_model_prefix = _BODY[kind]  # type: ignore[assignment]
    return body


def _divisible(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"hidden_size {width} is no multiple of num_attention_heads {heads}")
