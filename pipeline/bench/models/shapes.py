"""Models by the shape of their network: real sizes with random weights, and tiny twins for tests.

Sizes are those of the published config.json files. A tiny shape has the same architecture and the
same tokenizer, a few small layers, and tells nothing about speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pipeline.bench.models import configs, tensors
from pipeline.bench.models.tensors import Config, Named
from pipeline.config import ModelConfig
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
        parameters: as published, of the real one; 0 where they are not known.
        model: a model with weights of its own, which is measured as it is; None: random weights.
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
    model: ModelConfig | None = None

    def config_of(self, scale: Scale) -> dict[str, Any]:
        """config.json of the real network or of the tiny one."""
        return self.config if scale == "real" else _merged(self.config, self.tiny)


def _merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return whole | {
        key: _merged(whole[key], value) if isinstance(value, dict) else value
        for key, value in part.items()
    }


SHAPES: Final[dict[str, Shape]] = {
    shape.name: shape
    for shape in (
        Shape(
            name="minilm-l6",
            family="cross_encoder",
            config=configs.MINILM,
            tiny=configs.TINY_ENCODER,
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
            config=configs.XLM_R | {"model_type": "xlm-roberta"},
            tiny=configs.TINY_ENCODER,
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
            config=configs.XLM_R,
            tiny=configs.TINY_ENCODER,
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
            config=configs.JINA_BERT | {"num_hidden_layers": 6},
            tiny=configs.TINY_ENCODER,
            tensors=tensors.jina_bert,
            vocabulary="roberta",
            dtype="bfloat16",
            parameters=37_771_777,
            settings={"max_length": 1024},
        ),
        Shape(
            name="jina-tiny",
            family="jina_v1",
            config=configs.JINA_BERT | {"num_hidden_layers": 4},
            tiny=configs.TINY_ENCODER,
            tensors=tensors.jina_bert,
            vocabulary="roberta",
            dtype="bfloat16",
            parameters=33_046_273,
            settings={"max_length": 1024},
        ),
        Shape(
            name="qwen3-0.6b",
            family="qwen3_reranker",
            config=configs.QWEN3 | {"max_position_embeddings": 40960},
            tiny=configs.TINY_QWEN3,
            tensors=tensors.qwen3,
            vocabulary="qwen",
            dtype="bfloat16",
            parameters=596_049_920,
        ),
        Shape(
            name="jina-v3",
            family="jina_v3",
            config=configs.QWEN3,
            tiny=configs.TINY_QWEN3,
            tensors=tensors.jina_v3,
            vocabulary="qwen",
            dtype="bfloat16",
            parameters=596_836_352,
        ),
        Shape(
            name="jina-m0",
            family="jina_m0",
            config=configs.QWEN2_VL,
            tiny=configs.TINY_QWEN2_VL,
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
