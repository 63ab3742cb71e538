"""How far two ways to score agree on the same candidate lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_TOP: Final = 10

Floats = npt.NDArray[np.float32]
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
