"""How alike the orders of two runs are: rank-biased overlap, for many queries at once.

Webber, Moffat and Zobel, "A similarity measure for indefinite rankings", ACM TOIS 28(4), 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: The probability that a reader who has seen one rank looks at the next: 0.9 puts 86 % of the
#: weight on the first 10 ranks, as the paper says.
PERSISTENCE: Final = 0.9

#: Entries of the matrix of overlaps by query and depth that are in memory at once.
_AT_ONCE: Final = 1 << 21


def rank_biased_overlap(
    lengths: tuple[Ints, Ints],
    queries: Ints,
    places: tuple[Ints, Ints],
    *,
    depths: Sequence[int],
    persistence: float = PERSISTENCE,
) -> Floats:
    """Extrapolated rank-biased overlap of the lists of Q queries, cut at some depths.

    A list may be shorter than a depth, and two lists may be of different lengths. Lists have no
    ties: an order is what it is. Sums are taken in the order of ranks, so that the same lists give
    the same bits on every machine.

    Args:
        lengths: int64 [Q] twice, how many documents each query has in either run; at least 1.
        queries: int64 [M], ascending: for every document that stands in both lists of a query,
            that query's number.
        places: int64 [M] twice, its place in either list, from 1.
        depths: where lists are cut, ascending, from 1.
        persistence: the paper's p, between 0 and 1.

    Returns:
        float64 [Q, number of depths], 0 (nothing in common) to 1 (the same order).
    """
    before, after = lengths
    deepest = depths[-1]
    found = np.empty((len(before), len(depths)))
    step = max(1, _AT_ONCE // deepest)
    for start in range(0, len(before), step):
        stop = min(start + step, len(before))
        lower, upper = np.searchsorted(queries, [start, stop])
        shared = _shared(
            queries[lower:upper] - start,
            np.maximum(places[0][lower:upper], places[1][lower:upper]),
            (stop - start, deepest),
        )
        sums = _weighted(shared, persistence)
        for column, depth in enumerate(depths):
            shorter = np.minimum(np.minimum(before[start:stop], after[start:stop]), depth)
            longer = np.minimum(np.maximum(before[start:stop], after[start:stop]), depth)
            found[start:stop, column] = _extrapolated(shared, sums, shorter, longer, persistence)
    return found


def _shared(queries: Ints, met: Ints, shape: tuple[int, int]) -> Floats:
    """float64 [Q, D]: how many documents two lists have in common down to each depth (X_d).

    Args:
        queries: int64 [M].
        met: int64 [M], the depth from which on a document is in both.
        shape: Q and D.
    """
    within = met <= shape[1]
    cells = queries[within] * shape[1] + met[within] - 1
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    return np.cumsum(counts, axis=1).astype(np.float64)


def _weighted(shared: Floats, p: float) -> Floats:
    """float64 [Q, D]: the sum of X_d / d * p^d up to each depth."""
    ranks = np.arange(1, shared.shape[1] + 1)
    return np.cumsum(shared / ranks * _powers(p, shared.shape[1]), axis=1)


def _powers(p: float, count: int) -> Floats:
    """float64 [count]: p, p^2, … by multiplication alone, which every machine does alike."""
    return np.cumprod(np.full(count, p))


def _extrapolated(shared: Floats, sums: Floats, s: Ints, l: Ints, p: float) -> Floats:  # noqa: E741
    """RBO_EXT, equation 32 of the paper, of lists of lengths s <= l.

    ::

        (1-p)/p * ( sum_{d=1..l} X_d/d p^d  +  X_s * sum_{d=s+1..l} (d-s)/(s d) p^d )
            + ( (X_l - X_s)/l + X_s/s ) p^l
    """
    rows = np.arange(len(s))
    powers = _powers(p, shared.shape[1])
    at_s, at_l = shared[rows, s - 1], shared[rows, l - 1]
    # (d-s)/(s d) = 1/s - 1/d, so both parts are differences of running sums.
    plain = np.append(0.0, np.cumsum(powers))
    by_rank = np.append(0.0, np.cumsum(powers / np.arange(1, shared.shape[1] + 1)))
    tail = (plain[l] - plain[s]) / s - (by_rank[l] - by_rank[s])
    seen = (1 - p) / p * (sums[rows, l - 1] + at_s * tail)
    value = seen + ((at_l - at_s) / l + at_s / s) * powers[l - 1]
    return np.asarray(np.clip(value, 0.0, 1.0))
