"""Which candidates of a query are its positives: by judgement, by the teacher, or by both."""

from __future__ import annotations

import numpy as np

from pipeline.config.distill import PositivesConfig
from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.candidates import Candidates


def choose_positives(
    candidates: Candidates,
    config: PositivesConfig,
    why: list[str | None],
) -> tuple[list[int], list[bool]]:
    """Places of the positives, judged ones first, and whether a judgement made them.

    What is judged below ``min_relevance`` is not made a positive by the teacher.
    """
    relevant = candidates.judged & (candidates.relevance >= config.min_relevance)
    places = np.arange(len(candidates))
    from_qrels: list[int] = []
    if config.source != "teacher":
        # The most relevant first, then the best scored; the sort is stable.
        from_qrels = sorted(places[relevant].tolist(), key=lambda i: -candidates.relevance[i])
    from_teacher: list[int] = []
    if config.source != "qrels":
        enough = ~np.isnan(candidates.scores) & (relevant | ~candidates.judged)
        if config.teacher_min_score is not None:
            enough &= candidates.scores >= config.teacher_min_score
        top = places[enough][: config.teacher_top].tolist()
        from_teacher = [place for place in top if place not in from_qrels]
    kept = within(config.max_positives, [*from_qrels, *from_teacher], why)
    return kept, [i < len(from_qrels) for i in range(len(kept))]


def within(most: int | None, chosen: list[int], why: list[str | None]) -> list[int]:
    """The first ``most`` positives; the others are marked."""
    for place in () if most is None else chosen[most:]:
        why[place] = reasons.SURPLUS_POSITIVE
    return chosen[:most]


def suspects(
    candidates: Candidates, lowest: float, why: list[str | None], chosen: list[int]
) -> list[int]:
    """Unjudged documents above the lowest positive."""
    above = (candidates.scores > lowest) & ~candidates.judged
    taken = set(chosen)
    return [p for p in np.flatnonzero(above).tolist() if p not in taken and why[p] is None]
