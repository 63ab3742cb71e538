"""Ranges of different lengths, side by side, without a Python loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]


def ragged_range(starts: Int64s, counts: Int64s) -> Int64s:
    """``concatenate([arange(s, s + c) for s, c in zip(starts, counts)])`` without the loop."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    places: Int64s = np.repeat(starts - (ends - counts), counts)
    places += np.arange(total, dtype=np.int64)
    return places
