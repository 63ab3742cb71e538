"""Does a checkpoint, run by this code, give the scores that its publisher printed?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from pipeline.checkpoints.cards import Example


@dataclass(frozen=True, kw_only=True)
class Check:
    """One pair of the published example.

    Attributes:
        query: its query.
        document: its document.
        published: the publisher's score.
        ours: our score on the same scale.
        difference: between the two, in logits, or in cosine for cosines.
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

    Neighbouring pairs of one query are scored as one list, which a listwise model needs. Logits
    and probabilities are compared in logits: probabilities near 0 and 1 hide errors of several
    units. Cosines are compared as they are.

    Args:
        example: the card's example.
        score: float32 scores of documents for a query.
        score_scale: what ``score`` returns: ``logit``, ``probability`` or ``cosine``.
    """
    checks = []
    place = 0
    for query, group in groupby(example.pairs, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        raw = score(query, list(documents))
        for document, value in zip(documents, raw.tolist(), strict=True):
            checks.append(_check(example, score_scale, place, document, float(value)))
            place += 1
    return checks


def _check(example: Example, score_scale: str, place: int, document: str, raw: float) -> Check:
    published = example.scores[place]
    ours = _logit(raw) if score_scale == "probability" else raw
    wanted = _logit(published) if example.scale == "probability" else published
    difference = abs(ours - wanted)
    return Check(
        query=example.pairs[place][0],
        document=document,
        published=published,
        ours=1 / (1 + math.exp(-ours)) if example.scale == "probability" else ours,
        difference=difference,
        passed=bool(difference <= example.tolerance),
    )


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return math.log(probability / (1 - probability))
