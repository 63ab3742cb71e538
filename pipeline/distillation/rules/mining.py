"""One query's candidates become positives, hard negatives and rejects with a reason: pure.

Names and rules are those of sentence-transformers' ``mine_hard_negatives``, on a reranker's scores.
The relative margin is ``s <= p - |p| * m``. The often seen ``s <= p * (1 - m)`` is the same for
positive scores only: with logits p = -2 and m = 0.05 it allows negatives up to -1.9, *above* the
positive. NV-Retriever's TopK-PercPos (Moreira et al., arXiv 2407.15831: at most 95 % of the
positive's score) is m = 0.05; its paper had cosines of a bi-encoder, and for logits, whose zero
means nothing, an absolute margin is the better choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.distill import NegativesConfig, PositivesConfig
from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.candidates import Candidates, Content
from pipeline.distillation.rules.positives import choose_positives, suspects, within
from pipeline.distillation.rules.texts import mixed

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Mined:
    """What became of every candidate.

    Attributes:
        positives: places, best first.
        from_qrels: for each positive, whether a judgement made it one.
        negatives: places in the order in which they were taken.
        reasons: for each candidate its reason, None for positives and negatives.
        failure: why the query as a whole is left out, None where it is not.
    """

    positives: list[int]
    from_qrels: list[bool]
    negatives: list[int]
    reasons: list[str | None]
    failure: str | None = None

    @classmethod
    def left_out(cls, reason: str, why: list[str | None]) -> Mined:
        """A query that is not in the set; candidates without a reason of their own get its."""
        return cls(
            positives=[],
            from_qrels=[],
            negatives=[],
            reasons=[reason if code is None else code for code in why],
            failure=reason,
        )


def mine(
    candidates: Candidates,
    positives: PositivesConfig,
    negatives: NegativesConfig,
    *,
    seed: int,
    wanted: int | None = None,
    granted: frozenset[int] | None = None,
) -> Mined:
    """Choose positives and negatives; the outcome depends on the arguments and nothing else.

    Args:
        candidates: of one query.
        positives: rules.
        negatives: rules.
        seed: of ``sampling_strategy: random``, drawn per (seed, query, document).
        wanted: negatives to find; None is ``num_negatives``.
        granted: under ``max_per_document``, keys of the documents that this query was granted out
            of its first :func:`requests`; None grants every one.
    """
    why: list[str | None] = [None] * len(candidates)
    chosen, judged = choose_positives(candidates, positives, why)
    if not chosen:
        return Mined.left_out(reasons.NO_POSITIVE, why)
    scored = candidates.scores[chosen]
    lowest = float(np.nanmin(scored)) if not np.isnan(scored).all() else None
    if lowest is None and negatives.has_margin:
        return Mined.left_out(reasons.NO_SCORED_POSITIVE, why)
    if negatives.false_negatives == "relabel" and lowest is not None:
        above = suspects(candidates, lowest, why, chosen)
        chosen = within(positives.max_positives, [*chosen, *above], why)
        judged = [*judged, *([False] * len(above))][: len(chosen)]
    _refuse(candidates, negatives, lowest, chosen, why)
    order = _order(candidates, negatives, chosen, why, seed)
    found = _take(
        candidates, negatives, chosen, order, why,
        wanted=negatives.num_negatives if wanted is None else wanted, granted=granted,
    )  # fmt: skip
    if len(found) < negatives.min_negatives:
        return Mined.left_out(reasons.TOO_FEW_NEGATIVES, why)
    best_first = sorted(range(len(chosen)), key=lambda i: chosen[i])
    return Mined(
        positives=[chosen[i] for i in best_first],
        from_qrels=[judged[i] for i in best_first],
        negatives=found,
        reasons=why,
    )


def requests(config: NegativesConfig) -> int:
    """How many negatives a query asks for where documents are capped: twice what it needs."""
    return 2 * config.num_negatives


def _refuse(
    candidates: Candidates,
    config: NegativesConfig,
    lowest: float | None,
    chosen: list[int],
    why: list[str | None],
) -> None:
    """Give every candidate that cannot be a negative its first reason."""
    scores = candidates.scores
    others = np.ones(len(candidates), dtype=bool)
    others[chosen] = False
    place = np.cumsum(others) - 1
    most = len(candidates) if config.range_max is None else config.range_max
    checks = [
        (
            reasons.JUDGED_RELEVANT,
            candidates.judged & (candidates.relevance > config.max_relevance),
        ),
        (reasons.OUT_OF_RANGE, (place < config.range_min) | (place >= most)),
        (reasons.MAX_SCORE, scores > (np.inf if config.max_score is None else config.max_score)),
        (reasons.MIN_SCORE, scores < (-np.inf if config.min_score is None else config.min_score)),
    ]
    if lowest is not None:
        if config.absolute_margin is not None:
            limit = lowest - config.absolute_margin
            checks.append((reasons.ABSOLUTE_MARGIN, scores > limit))
        if config.margin is not None:
            limit = lowest - abs(lowest) * config.margin
            checks.append((reasons.RELATIVE_MARGIN, scores > limit))
        if config.false_negatives == "drop":
            above = (scores > lowest) & ~candidates.judged
            checks.append((reasons.FALSE_NEGATIVE, above))
    for code, holds in checks:
        for i in np.flatnonzero(holds & others).tolist():
            if why[i] is None:
                why[i] = code


def _order(
    candidates: Candidates,
    config: NegativesConfig,
    chosen: list[int],
    why: list[str | None],
    seed: int,
) -> list[int]:
    """Places that may be negatives, in the order in which they are tried."""
    taken = set(chosen)
    allowed = [i for i in range(len(candidates)) if why[i] is None and i not in taken]
    if config.sampling_strategy == "top" or not allowed:
        return allowed
    salt = mixed(np.array([seed], dtype=np.uint64)) ^ np.uint64(candidates.query)
    draw = mixed(candidates.keys[allowed] ^ mixed(salt))
    return [allowed[i] for i in np.argsort(draw, kind="stable").tolist()]


def _take(
    candidates: Candidates,
    config: NegativesConfig,
    chosen: list[int],
    order: list[int],
    why: list[str | None],
    *,
    wanted: int,
    granted: frozenset[int] | None,
) -> list[int]:
    """The first ``wanted`` of ``order`` that are no duplicates; only those tried are compared.

    A document that is not granted counts as tried, so that a query looks no further than it asked.
    """
    content = Content(candidates, chosen, config.near_duplicates)
    most = wanted if granted is None else requests(config)
    found: list[int] = []
    tried = 0
    for place in order:
        if len(found) == wanted or tried == most:
            why[place] = reasons.NOT_SAMPLED
            continue
        why[place] = content.reason(place)
        if why[place] is not None:
            continue
        tried += 1
        content.add(place)
        if granted is not None and int(candidates.keys[place]) not in granted:
            why[place] = reasons.DOCUMENT_CAP
        else:
            found.append(place)
    return found
