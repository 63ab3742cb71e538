"""Does a checkpoint, run by this code, give the scores that its card states?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.checkpoints.cards import Example
from pipeline.errors import ModelError

#: Scales that say the same: one is the sigmoid of the other.
_IN_LOGITS: Final = ("logit", "probability")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One pair of an example.

    Attributes:
        query: its query.
        document: its document.
        stated: the score that the card states.
        ours: our score on the same scale.
        difference: between the two: in logits for logits and probabilities, else in the scores'
            own unit.
        passed: whether that is within the card's tolerance.
    """

    query: str
    document: str
    stated: float
    ours: float
    difference: float
    passed: bool


def verify(
    example: Example,
    score: Callable[[str, Sequence[str | None]], npt.NDArray[np.float32]],
    score_scale: str,
) -> list[Check]:
    """Score the pairs of an example and compare.

    Neighbouring pairs of one query are scored as one list, which a listwise model needs. Logits
    and probabilities are compared in logits: probabilities near 0 and 1 hide errors of several
    units. Other scores are compared as they are.

    Args:
        example: one of the card's examples.
        score: float32 scores of documents for a query.
        score_scale: what ``score`` returns, as the family calls it.

    Raises:
        ModelError: the example is on another scale, so nothing can be compared.
    """
    if example.scale != score_scale and not {example.scale, score_scale} <= {*_IN_LOGITS}:
        raise ModelError(
            f"the example states scores on the scale '{example.scale}', and with these settings "
            f"the family gives '{score_scale}'; these cannot be compared (source: {example.source})"
        )
    checks = []
    place = 0
    for query, group in groupby(example.pairs, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        raw = score(query, list(documents))
        for document, value in zip(documents, raw.tolist(), strict=True):
            checks.append(_check(example, score_scale, place, document, float(value)))
            place += 1
    return checks


def unit_of(example: Example) -> str:
    """What the tolerance of an example is in."""
    return "logits" if example.scale in _IN_LOGITS else example.scale


def _check(example: Example, score_scale: str, place: int, document: str, raw: float) -> Check:
    stated = example.scores[place]
    ours = _logit(raw) if score_scale == "probability" else raw
    wanted = _logit(stated) if example.scale == "probability" else stated
    difference = abs(ours - wanted)
    return Check(
        query=example.pairs[place][0],
        document=document,
        stated=stated,
        ours=_probability(ours) if example.scale == "probability" else ours,
        difference=difference,
        passed=bool(difference <= example.tolerance),
    )


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return math.log(probability / (1 - probability))


def _probability(logit: float) -> float:
    """The sigmoid, without overflow on either side."""
    small = math.exp(-abs(logit))
    return (1 if logit >= 0 else small) / (1 + small)
