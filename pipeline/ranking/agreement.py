"""How far two ways to score agree on the same candidate lists."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.ranking.overlap import rank_biased_overlap

_TOP: Final = 10

#: Ranks that rank-biased overlap looks at.
_DEPTH: Final = 100

Floats = npt.NDArray[np.float32]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of two ways to score.

    Attributes:
        most: the largest difference of two scores; infinite where one of them has no number.
        overlap: share of each list's ten best that both name, on average.
        tau: Kendall's tau-b of each list's scores, on average.
    """

    most: float
    overlap: float
    tau: float


def agreement(first: Floats, second: Floats, offsets: Int64s) -> Agreement:
    """Compare scores [N] of the lists that ``offsets`` [Q + 1] cut."""
    apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
    lists = [
        (first[a:b], second[a:b])
        for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    return Agreement(
        most=float(np.inf if np.isnan(apart).any() else apart.max(initial=0.0)),
        overlap=float(np.mean([top_overlap(a, b) for a, b in lists])),
        tau=float(np.mean([kendall_tau(a, b) for a, b in lists])),
    )


@dataclass(frozen=True, kw_only=True)
class OrderAgreement:
    """Of two orders of the same lists, averaged over those of two documents or more.

    Attributes:
        lists: how many these are; where there are none, the figures are 1.
        rbo: extrapolated rank-biased overlap of the first 100 ranks, see
            :mod:`pipeline.ranking.overlap`.
        overlap: share of the first ten ranks that both fill with the same documents.
        tau: Kendall's tau over all pairs of documents, -1 to 1.
    """

    lists: int
    rbo: float
    overlap: float
    tau: float


def order_agreement(first: Int32s, second: Int32s, lists: Int64s) -> OrderAgreement:
    """Compare two orders of the same candidate lists.

    Args:
        first: int32 [N], ranks of documents within their lists, none twice in a list; they need
            not be without gaps.
        second: int32 [N], those of the other order.
        lists: int64 [N], ascending: the list that each document stands in.
    """
    _, counts = np.unique(lists, return_counts=True)
    several = counts > 1
    if not several.any():
        return OrderAgreement(lists=0, rbo=1.0, overlap=1.0, tau=1.0)
    kept = np.repeat(several, counts)
    ours, theirs = (places(ranks, lists)[kept] for ranks in (first, second))
    lengths = counts[several]
    rbo = rank_biased_overlap(
        (lengths, lengths),
        np.repeat(np.arange(len(lengths)), lengths),
        (ours, theirs),
        depths=(_DEPTH,),
    )
    # Places as scores: the best has the highest, and none are equal.
    scores = [
        (-ours[a:b].astype(np.float32), -theirs[a:b].astype(np.float32))
        for a, b in pairwise(np.append(0, np.cumsum(lengths)).tolist())
    ]
    return OrderAgreement(
        lists=len(lengths),
        rbo=float(np.mean(rbo)),
        overlap=float(np.mean([top_overlap(a, b) for a, b in scores])),
        tau=float(np.mean([kendall_tau(a, b) for a, b in scores])),
    )


def places(ranks: npt.NDArray[np.integer[Any]], lists: Int64s) -> Int64s:
    """int64 [N]: 1, 2, … within each list by rank, for ranks that may have gaps.

    Args:
        ranks: integers [N], none twice in a list.
        lists: int64 [N], the list that each is in.
    """
    order = np.lexsort((ranks, lists))
    ordered = lists[order]
    found = np.empty(len(ranks), dtype=np.int64)
    found[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered) + 1
    return found


def top_overlap(first: Floats, second: Floats) -> float:
    """Share of the ten best, or of all where there are fewer, that both name."""
    count = min(_TOP, len(first))
    best = [set(np.argsort(-scores, kind="stable")[:count].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / count


def kendall_tau(first: Floats, second: Floats) -> float:
    """Kendall's tau-b over all pairs of documents; 1 where neither orders any pair.

    Kendall, The treatment of ties in ranking problems, Biometrika 33 (1945).
    """
    upper = np.triu_indices(len(first), k=1)
    signs = [np.sign(scores[upper[0]] - scores[upper[1]]) for scores in (first, second)]
    scale = np.sqrt(np.count_nonzero(signs[0]) * np.count_nonzero(signs[1]))
    if scale == 0:
        return float(np.array_equal(signs[0], signs[1]))
    return float(np.dot(signs[0], signs[1]) / scale)
