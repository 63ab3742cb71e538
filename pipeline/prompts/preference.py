"""Two documents at a time: what is asked, in which order, and what the answers add up to.

Pure functions. After Qin et al., "Large Language Models are Effective Text Rankers with Pairwise
Ranking Prompting" (2023): every pair is asked in both orders, because models favour a position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.sequences.arrays import Floats, Int64s

    Bools = npt.NDArray[np.bool_]

#: Fixed words before, between and after query, passage A and passage B.
PROMPT: Final = (
    "Given a search query, decide which of two passages is more relevant to it.\n\nQuery:",
    "\n\nPassage A:",
    "\n\nPassage B:",
    "\n\nWhich passage is more relevant to the query? Answer with one letter, A or B.",
)

#: Log-odds this close to zero are a tie: two orders of the same words differ by float noise only.
TIE: Final = 1e-4


def circle_rounds(count: int) -> int:
    """Rounds in which :func:`circle` asks about every pair of ``count`` documents once."""
    return count // 2


def circle(count: int, step: int) -> Int64s:
    """The pairs of one round of all against all: every document with the one ``step + 1`` on.

    Args:
        count: documents of the list.
        step: round, from 0.

    Returns:
        int64 [P, 2] places; at most ``count`` pairs, none after the last round.
    """
    if step >= circle_rounds(count):
        return np.zeros((0, 2), dtype=np.int64)
    half = count % 2 == 0 and step + 1 == count // 2
    first = np.arange(count // 2 if half else count, dtype=np.int64)
    return np.stack([first, (first + step + 1) % count], axis=1)


def sliding(count: int, passes: int, step: int) -> Int64s:
    """Where one round of bubble passes compares a place with the next.

    A pass walks from the end of the list to the front and carries the better document along, so
    ``k`` passes settle the first ``k`` places. Pass ``p`` starts two rounds after the one before it
    and stops at place ``p``; places of one round never touch, so they are asked together.

    Args:
        count: documents of the list.
        passes: how many passes; more than ``count - 1`` sort the list and no more are made.
        step: round, from 0.

    Returns:
        int64 [P], the upper of the two places.
    """
    passes = min(passes, max(count - 1, 0))
    nth = np.arange(passes, dtype=np.int64)
    upper = count - 2 - (step - 2 * nth)
    return upper[(upper <= count - 2) & (upper >= nth)]


def both_orders(log_odds: Floats) -> Floats:
    """Preference for the first of each pair, free of the model's favour for a position.

    Args:
        log_odds: float32 [2 P] of A against B; first as A at even places, first as B at odd ones.

    Returns:
        float32 [P]; NaN where either answer is.
    """
    return np.asarray((log_odds[0::2] - log_odds[1::2]) / 2, dtype=np.float32)


def win(preference: Floats, *, soft: bool) -> Floats:
    """What the first document of each pair wins of 1.

    Args:
        preference: float32 [P] log-odds.
        soft: the probability that it is preferred, else 1, 0, or one half at a tie.
    """
    if soft:
        small = np.exp(-np.abs(preference))
        return np.asarray(np.where(preference < 0, small, np.float32(1)) / (1 + small))
    decided = np.where(preference > 0, np.float32(1), np.float32(0))
    won = np.where(np.abs(preference) <= TIE, np.float32(0.5), decided)
    return np.where(np.isnan(preference), preference, won)


def place_scores(order: Int64s, offsets: Int64s) -> Floats:
    """Scores that say no more than the order: 1 for the first of a list, 1/n for the last of n.

    Args:
        order: int64 [N], documents of all lists, each list's best first.
        offsets: int64 [Q + 1], where each list begins.
    """
    counts = np.repeat(np.diff(offsets), np.diff(offsets))
    place = np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets))
    scores = np.empty(len(order), dtype=np.float32)
    scores[order] = (counts - place) / np.maximum(counts, 1)
    return scores


def alone(offsets: Int64s) -> Bools:
    """bool [N]: documents that are the only one of their list, so that nothing is asked.

    Args:
        offsets: int64 [Q + 1].
    """
    counts = np.diff(offsets)
    return np.asarray(np.repeat(counts, counts) == 1)


def scores_of_heard(scores: Floats, answers: Int64s, offsets: Int64s) -> Floats:
    """float32 [N]: NaN for a document that was asked about and of which no answer came.

    Args:
        scores: float32 [N].
        answers: int64 [N], answers that each document was part of.
        offsets: int64 [Q + 1].
    """
    return np.where(alone(offsets) | (answers > 0), scores, np.float32(np.nan))


def first_stage_order(ranks: Int64s, offsets: Int64s) -> Int64s:
    """int64 [N]: documents of all lists in first-stage order, lists in their own.

    Args:
        ranks: int64 [N], first-stage rank of each document.
        offsets: int64 [Q + 1].
    """
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return np.lexsort((np.arange(len(ranks)), ranks, lists)).astype(np.int64)
