"""Does a checkpoint, run by this code, give the scores that its publisher printed?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.rerankers.support.cards import Example


@dataclass(frozen=True, kw_only=True)
class Check:
    """One pair of the published example.

    Attributes:
        query: its query.
        document: its document.
        published: the publisher's score.
        ours: our score on the same scale.
        difference: between the two, in logits.
        passed: whether that is within the card's tolerance.
    """

    query: str
    document: str
    published: float
    ours: float
    difference: float
    passed: bool


def verify(
    example: Example,
    score: Callable[[str, Sequence[str | None]], npt.NDArray[np.float32]],
    score_scale: str,
) -> list[Check]:
    """Score the published pairs and compare.

    Differences are taken in logits: probabilities near 0 and 1 hide errors of several units.

    Args:
        example: the card's example.
        score: float32 scores of documents for a query.
        score_scale: what ``score`` returns, ``logit`` or ``probability``.
    """
    checks = []
    for (query, document), published in zip(example.pairs, example.scores, strict=True):
        raw = float(score(query, [document])[0])
        ours = _logit(raw) if score_scale == "probability" else raw
        wanted = _logit(published) if example.scale == "probability" else published
        difference = abs(ours - wanted)
        checks.append(
            Check(
                query=query,
                document=document,
                published=published,
                ours=1 / (1 + math.exp(-ours)) if example.scale == "probability" else ours,
                difference=difference,
                passed=bool(difference <= example.tolerance),
            )
        )
    return checks


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return math.log(probability / (1 - probability))
