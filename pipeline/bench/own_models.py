"""A bench of a model with its own weights, named as a job names it: card, folder, URI or hub id."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.bench.models.shapes import SHAPES, Shape, shape_named
from pipeline.bench.models.tensors import Config, Named
from pipeline.checkpoints import cards
from pipeline.checkpoints.naming import settled
from pipeline.config import ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ConfigurationError, RerankError
from pipeline.rerankers.base import WeightedReranker


def shape_or_model(name: str) -> Shape:
    """One of our shapes by its name, or a model as ``model.name`` of a job names it.

    Raises:
        ConfigurationError: it is neither, or a model without a network.
    """
    if name in SHAPES:
        return shape_named(name)
    try:
        config = settled(ModelConfig(name=name))
        reranker = build_reranker(config)
    except RerankError as error:
        raise ConfigurationError(
            f"--model: '{name}' is no shape ({', '.join(SHAPES)}) and no model: {error}"
        ) from None
    if not isinstance(reranker, WeightedReranker) or not hasattr(reranker, "tokenizer"):
        raise ConfigurationError(f"--model: '{name}' has no network that reads texts")
    return Shape(
        name=cards.plain_name(name) or name,
        family=str(config.family),
        config=dict(reranker.checkpoint.config),
        tiny={},
        tensors=_none,
        vocabulary="bert",
        dtype="float32",
        parameters=0,
        model=config,
    )


def _none(config: Config) -> Iterator[Named]:
    """Nothing is written of a model that has its weights."""
    return iter(())
