"""A card for a checkpoint of one's own: what its files say, and the scores that it gives now.

The scores are the card's examples, so that :mod:`pipeline.engine.verification` can say later, on
another machine or version, whether the same checkpoint still gives the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import yaml

from pipeline.checkpoints.cards import Card, Example
from pipeline.checkpoints.licences import stated_licence
from pipeline.checkpoints.locating import lasting_place
from pipeline.config import ModelConfig
from pipeline.rerankers.base import Reranker, WeightedReranker

#: Texts in several scripts, an empty one, and one that most models have to cut.
PAIRS: Final = tuple(
    (query, document)
    for query, documents in (
        (
            "What is the capital of France?",
            (
                "Paris is the capital of France.",
                "Berlin is the capital of Germany.",
                "",
                "Paris, on the Seine, has been the seat of government for centuries. " * 48,
            ),
        ),
        (
            "Где находится Эйфелева башня?",
            (
                "Эйфелева башня находится в Париже.",
                "エッフェル塔はパリにあります。 🗼",
                "La tour Eiffel se trouve-t-elle à Rome ?",
            ),
        ),
    )
    for document in documents
)

#: Largest difference of two float32 forward passes that is no news, relative to a score of 1 and
#: more: orders of magnitude above rounding, below what another checkpoint or prompt makes.
_RELATIVE: Final = 2e-3

#: Logits that a float32 probability may be off by its last digit; beyond, it says too little.
_COARSE: Final = 0.05

#: A number that stands for "no limit" in tokenizer files.
_NO_LIMIT: Final = 10**6


def own_card(
    name: str,
    model: ModelConfig,
    reranker: Reranker,
    score: Callable[[str, Sequence[str | None]], npt.NDArray[np.float32]],
    *,
    source: str,
) -> Card:
    """The card of a loaded model.

    Args:
        name: of the card.
        model: its settled section.
        reranker: its family, loaded.
        score: float32 scores of documents for a query, by that reranker.
        source: what the scores were computed with.

    Raises:
        ModelError: a file of the checkpoint changed while it was read.
    """
    checkpoint = reranker.checkpoint if isinstance(reranker, WeightedReranker) else None
    licence, licence_source = (
        ("none (no weights)", None) if checkpoint is None else stated_licence(checkpoint.folder)
    )
    example = own_scores(reranker, score, source=source)
    return Card(
        name=name,
        family=str(model.family),
        weights=None if model.weights is None else lasting_place(model.weights),
        revision=model.revision,
        adapter=None if model.adapter is None else lasting_place(model.adapter),
        adapter_revision=model.adapter_revision,
        digest=None if checkpoint is None else checkpoint.digest,
        settings=reranker.settings.model_dump(mode="json", exclude_none=True),
        score_scale=reranker.score_scale,
        max_tokens=None if checkpoint is None else _most_tokens(checkpoint, reranker),
        licence=licence,
        licence_source=licence_source,
        examples=() if example is None else (example,),
    )


def own_scores(
    reranker: Reranker,
    score: Callable[[str, Sequence[str | None]], npt.NDArray[np.float32]],
    *,
    source: str,
) -> Example | None:
    """The scores of :data:`PAIRS`; None where the family scores none, such as one of images.

    Args:
        reranker: the family.
        score: float32 scores of documents for a query.
        source: what they were computed with.
    """
    pairs, scores = [], []
    for query, group in groupby(PAIRS, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        for document, value in zip(documents, score(query, list(documents)).tolist(), strict=True):
            if math.isfinite(value) and not (reranker.pointwise and _says_little(value, reranker)):
                pairs.append((query, document))
                scores.append(float(value))
    if not pairs:
        return None
    largest = max(abs(_compared(value, reranker)) for value in scores)
    return Example.model_validate(
        {
            "source": source,
            "scale": reranker.score_scale,
            "tolerance": float(
                f"{_RELATIVE * max(1.0, largest) + _coarsest(scores, reranker):.2g}"
            ),
            "pairs": pairs,
            "scores": scores,
        }
    )


def card_yaml(card: Card) -> str:
    """A card as the text of its file, without the keys that say nothing."""
    data = card.model_dump(mode="json", exclude_none=True)
    kept = {key: value for key, value in data.items() if value not in ("", [], {})}
    text: str = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
    return text


def _coarse(value: float) -> float:
    """Logits between a float32 probability and its neighbour; infinite at 0 and 1."""
    inside = value * (1 - value)
    return math.inf if inside <= 0 else float(np.spacing(np.float32(value))) / inside


def _says_little(value: float, reranker: Reranker) -> bool:
    return reranker.score_scale == "probability" and _coarse(value) > _COARSE


def _coarsest(scores: Sequence[float], reranker: Reranker) -> float:
    return max(map(_coarse, scores)) if reranker.score_scale == "probability" else 0.0


def _compared(value: float, reranker: Reranker) -> float:
    """A score in what it is compared in."""
    return math.log(value / (1 - value)) if reranker.score_scale == "probability" else value


def _most_tokens(checkpoint: Any, reranker: Reranker) -> int | None:
    """The limit by the settings, else the least that the files state; None: they do not."""
    asked = getattr(reranker.settings, "max_length", None)
    if isinstance(asked, int):
        return asked
    config = checkpoint.config
    inner = config.get("text_config")
    parts = (config, inner if isinstance(inner, Mapping) else {}, _tokenizer(checkpoint))
    stated = [
        part[key]
        for part in parts
        for key in ("max_position_embeddings", "model_max_length")
        if isinstance(part.get(key), int) and 0 < part[key] < _NO_LIMIT
    ]
    return min(stated, default=None)


def _tokenizer(checkpoint: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = checkpoint.table("tokenizer_config.json")
    return found
