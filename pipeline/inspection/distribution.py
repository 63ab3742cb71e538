"""Many numbers as a few: smallest, median, 95th percentile, largest, and a histogram."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Up to so many different values each is a bin of its own.
_SINGLE: Final = 8

#: Bins of a histogram at most, so that one fits on a screen.
_MOST_BINS: Final = 14


def distribution(values: npt.NDArray[np.int64]) -> dict[str, Any] | None:
    """What ``values`` [N], whole numbers from 0, look like; None where there are none.

    Returns:
        ``count``, ``min``, ``median``, ``p95``, ``max`` and ``mean``; ``histogram`` is a list of
        [first value, last value, how many], without gaps.
    """
    if len(values) == 0:
        return None
    return {
        "count": len(values),
        "min": int(values.min()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": int(values.max()),
        "mean": round(float(values.mean()), 2),
        "histogram": _histogram(values),
    }


def _histogram(values: npt.NDArray[np.int64]) -> list[list[int]]:
    different = np.unique(values)
    if len(different) <= _SINGLE:
        return [[int(value), int(value), int((values == value).sum())] for value in different]
    edges = _edges(int(values.min()), int(values.max()))
    counts = [
        [low, high - 1, int(((values >= low) & (values < high)).sum())]
        for low, high in pairwise(edges)
    ]
    filled = [place for place, bin_ in enumerate(counts) if bin_[2]]
    return counts[filled[0] : filled[-1] + 1]


def _edges(low: int, high: int) -> list[int]:
    """Edges at 1, 2 and 5 times powers of ten, or at powers of ten where those are too many."""
    for steps in ((1, 2, 5), (1,)):
        edges = [0]
        for edge in _round_numbers(steps):
            edges.append(edge)
            if edge > high:
                break
        kept = [edge for place, edge in enumerate(edges) if edges[place + 1 : place + 2] > [low]]
        found = [*kept, edges[-1]]
        if len(found) <= _MOST_BINS + 1:
            break
    return found


def _round_numbers(steps: tuple[int, ...]) -> Iterator[int]:
    for power in count():
        yield from (step * 10**power for step in steps)
