"""Models by the shape of their network: real sizes with random weights, and tiny twins for tests.

Sizes are those of the published config.json files. A tiny shape has the same architecture and the
same tokenizer, a few small layers, and tells nothing about speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipeline.benchmarking import tensors
from pipeline.benchmarking.tensors import Config, Named
from pipeline.errors import ConfigurationError

Scale = Literal["real", "tiny"]
Vocabulary = Literal["bert", "xlm_roberta", "roberta", "qwen"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model to be built.

    Attributes:
        name: as ``--model`` knows it.
        family: that runs it.
        config: of the real network, as its config.json states it.
        tiny: what differs in the tiny one.
        tensors: names and shapes of the weights, for a config.
        vocabulary: which kind of tokenizer it has.
        dtype: that its weights are stored in.
        settings: of the family.
        upstream_layout: weights are stored under jina-reranker-v2's names.
        twin: the same network in the layout that transformers loads, for peers; None where
            transformers has no such network.
        parameters: as published, of the real one.
    """

    name: str
    family: str
    config: dict[str, Any]
    tiny: dict[str, Any]
    tensors: Callable[[Config], Iterator[Named]]
    vocabulary: Vocabulary
    dtype: Literal["float32", "bfloat16"]
    parameters: int
    settings: dict[str, Any] = field(default_factory=dict)
    upstream_layout: bool = False
    twin: str | None = None

    def config_of(self, scale: Scale) -> dict[str, Any]:
        """config.json of the real network or of the tiny one."""
        return self.config if scale == "real" else _merged(self.config, self.tiny)


def _merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return whole | {
        key: _merged(whole[key], value) if isinstance(value, dict) else value
        for key, value in part.items()
    }


_ENCODER: Final = {
    "attention_probs_dropout_prob": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "position_embedding_type": "absolute",
}
_TINY_ENCODER: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}

_MINILM: Final = _ENCODER | {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}

#: As jina-reranker-v2 has it; bge-reranker-base differs in the number of positions alone.
_XLM_R: Final = _ENCODER | {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "vocab_size": 250002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 1026,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-05,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

_JINA_BERT: Final = _ENCODER | {
    "architectures": ["JinaBertModel"],
    "model_type": "bert",
    "vocab_size": 61056,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "feed_forward_type": "geglu",
}

_QWEN3: Final = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 131072,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_cache": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
_TINY_QWEN3: Final = {
    "head_dim": 8,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
}

_QWEN2_VL: Final = {
    "architectures": ["JinaVLForRanking"],
    "model_type": "qwen2_vl",
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "image_token_id": 151655,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "use_cache": False,
    "use_sliding_window": False,
    "video_token_id": 151656,
    "vision_config": {
        "depth": 32,
        "embed_dim": 1280,
        "hidden_act": "quick_gelu",
        "hidden_size": 1536,
        "in_channels": 3,
        "in_chans": 3,
        "mlp_ratio": 4,
        "model_type": "qwen2_vl",
        "num_heads": 16,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
    },
    "vision_end_token_id": 151653,
    "vision_start_token_id": 151652,
    "vision_token_id": 151654,
    "vocab_size": 151936,
}
_TINY_QWEN2_VL: Final = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "rope_scaling": {"mrope_section": [2, 3, 3]},
    "vision_config": {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2},
}

SHAPES: Final[dict[str, Shape]] = {
    shape.name: shape
    for shape in (
        Shape(
            name="minilm-l6",
            family="cross_encoder",
            config=_MINILM,
            tiny=_TINY_ENCODER,
            tensors=tensors.bert,
            vocabulary="bert",
            dtype="float32",
            parameters=22_713_601,
            settings={"max_length": 512},
            twin="minilm-l6",
        ),
        Shape(
            name="xlmr-base",
            family="cross_encoder",
            config=_XLM_R | {"model_type": "xlm-roberta"},
            tiny=_TINY_ENCODER,
            tensors=tensors.xlm_roberta,
            vocabulary="xlm_roberta",
            dtype="bfloat16",
            parameters=278_437_633,
            settings={"max_length": 1024},
            twin="xlmr-base",
        ),
        Shape(
            name="jina-v2",
            family="jina_v2",
            config=_XLM_R,
            tiny=_TINY_ENCODER,
            tensors=tensors.xlm_roberta,
            vocabulary="xlm_roberta",
            dtype="bfloat16",
            parameters=278_437_633,
            upstream_layout=True,
            twin="xlmr-base",
        ),
        Shape(
            name="jina-turbo",
            family="jina_v1",
            config=_JINA_BERT | {"num_hidden_layers": 6},
            tiny=_TINY_ENCODER,
            tensors=tensors.jina_bert,
            vocabulary="roberta",
            dtype="bfloat16",
            parameters=37_771_777,
            settings={"max_length": 1024},
        ),
        Shape(
            name="jina-tiny",
            family="jina_v1",
            config=_JINA_BERT | {"num_hidden_layers": 4},
            tiny=_TINY_ENCODER,
            tensors=tensors.jina_bert,
            vocabulary="roberta",
            dtype="bfloat16",
            parameters=33_046_273,
            settings={"max_length": 1024},
        ),
        Shape(
            name="qwen3-0.6b",
            family="qwen3_reranker",
            config=_QWEN3 | {"max_position_embeddings": 40960},
            tiny=_TINY_QWEN3,
            tensors=tensors.qwen3,
            vocabulary="qwen",
            dtype="bfloat16",
            parameters=596_049_920,
        ),
        Shape(
            name="jina-v3",
            family="jina_v3",
            config=_QWEN3,
            tiny=_TINY_QWEN3,
            tensors=tensors.jina_v3,
            vocabulary="qwen",
            dtype="bfloat16",
            parameters=596_836_352,
        ),
        Shape(
            name="jina-m0",
            family="jina_m0",
            config=_QWEN2_VL,
            tiny=_TINY_QWEN2_VL,
            tensors=tensors.jina_m0,
            vocabulary="qwen",
            dtype="bfloat16",
            parameters=2_444_721_665,
        ),
    )
}


def shape_named(name: str) -> Shape:
    """A shape by its name.

    Raises:
        ConfigurationError: there is none; names them all.
    """
    if name not in SHAPES:
        raise ConfigurationError(f"--model: no shape '{name}'; there are {', '.join(SHAPES)}")
    return SHAPES[name]
