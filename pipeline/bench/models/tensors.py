"""Names and shapes of the tensors of published checkpoints, by architecture: pure data.

Names are those that transformers' own networks have, or the published file where transformers has
no such network. :mod:`pipeline.bench.models.checkpoints` puts them as jina-reranker-v2 stores them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Config = Mapping[str, Any]
Named = tuple[str, tuple[int, ...]]


def bert(config: Config) -> Iterator[Named]:
    """BertForSequenceClassification with one label."""
    hidden = config["hidden_size"]
    yield from _embeddings("bert", config)
    yield from _encoder("bert", config)
    yield from _linear("bert.pooler.dense", hidden, hidden)
    yield from _linear("classifier", 1, hidden)


def xlm_roberta(config: Config) -> Iterator[Named]:
    """XLMRobertaForSequenceClassification with one label."""
    hidden = config["hidden_size"]
    yield from _embeddings("roberta", config)
    yield from _encoder("roberta", config)
    yield from _linear("classifier.dense", hidden, hidden)
    yield from _linear("classifier.out_proj", 1, hidden)


def jina_bert(config: Config) -> Iterator[Named]:
    """JinaBERT with a gated feed-forward layer and one label, as in jina-reranker-v1."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    yield from _embeddings("bert", config, positions=False)
    for layer in _layers("bert", config):
        yield from _attention(layer, hidden)
        yield f"{layer}.mlp.gated_layers.weight", (2 * inner, hidden)
        yield from _linear(f"{layer}.mlp.wo", hidden, inner)
        yield from _norm(f"{layer}.mlp.layernorm", hidden)
    yield from _linear("bert.pooler.dense", hidden, hidden)
    yield from _linear("classifier", 1, hidden)


def qwen3(config: Config) -> Iterator[Named]:
    """Qwen3 with tied embeddings, its head left out."""
    head = config["head_dim"]
    yield "model.embed_tokens.weight", (config["vocab_size"], config["hidden_size"])
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}"
        yield from _decoder_layer(layer, config, head_dim=head, biases=False)
        yield f"{layer}.self_attn.q_norm.weight", (head,)
        yield f"{layer}.self_attn.k_norm.weight", (head,)
    yield "model.norm.weight", (config["hidden_size"],)


def jina_v3(config: Config) -> Iterator[Named]:
    """Qwen3 and the projector of jina-reranker-v3: to half the width, then to 512."""
    hidden = config["hidden_size"]
    yield from qwen3(config)
    yield "projector.0.weight", (hidden // 2, hidden)
    yield "projector.2.weight", (512, hidden // 2)


def jina_m0(config: Config) -> Iterator[Named]:
    """Qwen2-VL in the flat layout, its unused head among them, and the score head."""
    hidden = config["hidden_size"]
    head = hidden // config["num_attention_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for number in range(config["num_hidden_layers"]):
        yield from _decoder_layer(f"model.layers.{number}", config, head_dim=head, biases=True)
    yield "model.norm.weight", (hidden,)
    yield from _vision(config["vision_config"], hidden)
    yield "lm_head.weight", (config["vocab_size"], hidden)
    yield from _linear("score.0", hidden, hidden)
    yield from _linear("score.2", 1, hidden)


def _vision(config: Config, hidden: int) -> Iterator[Named]:
    width, patch = config["embed_dim"], config["patch_size"]
    merged = width * config["spatial_merge_size"] ** 2
    kernel = (width, config["in_channels"], config["temporal_patch_size"], patch, patch)
    yield "visual.patch_embed.proj.weight", kernel
    for number in range(config["depth"]):
        block = f"visual.blocks.{number}"
        yield from _norm(f"{block}.norm1", width)
        yield from _norm(f"{block}.norm2", width)
        yield from _linear(f"{block}.attn.qkv", 3 * width, width)
        yield from _linear(f"{block}.attn.proj", width, width)
        yield from _linear(f"{block}.mlp.fc1", config["mlp_ratio"] * width, width)
        yield from _linear(f"{block}.mlp.fc2", width, config["mlp_ratio"] * width)
    yield from _norm("visual.merger.ln_q", width)
    yield from _linear("visual.merger.mlp.0", merged, merged)
    yield from _linear("visual.merger.mlp.2", hidden, merged)


def _decoder_layer(layer: str, config: Config, *, head_dim: int, biases: bool) -> Iterator[Named]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    asked = config["num_attention_heads"] * head_dim
    kept = config["num_key_value_heads"] * head_dim
    for name, rows in (("q", asked), ("k", kept), ("v", kept)):
        yield f"{layer}.self_attn.{name}_proj.weight", (rows, hidden)
        if biases:
            yield f"{layer}.self_attn.{name}_proj.bias", (rows,)
    yield f"{layer}.self_attn.o_proj.weight", (hidden, asked)
    yield f"{layer}.mlp.gate_proj.weight", (inner, hidden)
    yield f"{layer}.mlp.up_proj.weight", (inner, hidden)
    yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
    yield f"{layer}.input_layernorm.weight", (hidden,)
    yield f"{layer}.post_attention_layernorm.weight", (hidden,)


def _embeddings(root: str, config: Config, *, positions: bool = True) -> Iterator[Named]:
    hidden, name = config["hidden_size"], f"{root}.embeddings"
    yield f"{name}.word_embeddings.weight", (config["vocab_size"], hidden)
    if positions:
        yield f"{name}.position_embeddings.weight", (config["max_position_embeddings"], hidden)
    yield f"{name}.token_type_embeddings.weight", (config["type_vocab_size"], hidden)
    yield from _norm(f"{name}.LayerNorm", hidden)


def _encoder(root: str, config: Config) -> Iterator[Named]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    for layer in _layers(root, config):
        yield from _attention(layer, hidden)
        yield from _linear(f"{layer}.intermediate.dense", inner, hidden)
        yield from _linear(f"{layer}.output.dense", hidden, inner)
        yield from _norm(f"{layer}.output.LayerNorm", hidden)


def _attention(layer: str, hidden: int) -> Iterator[Named]:
    for name in ("query", "key", "value"):
        yield from _linear(f"{layer}.attention.self.{name}", hidden, hidden)
    yield from _linear(f"{layer}.attention.output.dense", hidden, hidden)
    yield from _norm(f"{layer}.attention.output.LayerNorm", hidden)


def _layers(root: str, config: Config) -> list[str]:
    return [f"{root}.encoder.layer.{number}" for number in range(config["num_hidden_layers"])]


def _linear(name: str, rows: int, columns: int) -> Iterator[Named]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _norm(name: str, width: int) -> Iterator[Named]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
