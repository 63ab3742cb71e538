"""Means over a whole input from pieces of it, with how far they may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Share of samples whose interval holds the true value, were they drawn again and again.
CONFIDENCE: Final = 0.95

#: Quantile of the normal distribution for it.
_NORMAL: Final = 1.959964


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number that a sample gives.

    Attributes:
        value: the best guess.
        margin: half the width of its 95 % interval; 0 where everything was read, None where a
            single piece does not tell.
    """

    value: float
    margin: float | None

    @property
    def low(self) -> float:
        """Lower end of the interval, not below 0."""
        return max(0.0, self.value - (self.margin or 0.0))

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + (self.margin or 0.0)

    def times(self, factor: float) -> Estimate:
        """The same in another unit."""
        margin = None if self.margin is None else self.margin * factor
        return Estimate(value=self.value * factor, margin=margin)


def ratio(parts: Floats, sizes: Floats, *, whole: float) -> Estimate:
    """Sum of ``parts`` over sum of ``sizes``, for an input of which pieces were read.

    The ratio estimator of cluster sampling, with its variance between pieces and the correction for
    what was read already (Cochran, Sampling Techniques, 3rd ed., eq. 6.10 and 6.13), and Student's
    t for the few pieces that there are. Pieces stand evenly over the input, not at random: of an
    input that is sorted they tell more than the interval says.

    Args:
        parts: float64 [k], such as tokens of each piece.
        sizes: float64 [k], such as its documents; not all 0.
        whole: what sizes of all pieces of the input come to.
    """
    count, total = len(parts), float(sizes.sum())
    value = float(parts.sum()) / total
    unread = max(0.0, 1.0 - total / whole) if whole > 0 else 0.0
    if unread == 0.0:
        return Estimate(value=value, margin=0.0)
    if count < 2:
        return Estimate(value=value, margin=None)
    spread = float(((parts - value * sizes) ** 2).sum()) / (count - 1)
    error = math.sqrt(unread * spread / count) / (total / count)
    return Estimate(value=value, margin=_student(count - 1) * error)


def _student(freedom: int) -> float:
    """97.5 % quantile of Student's t, within 3 % from two degrees of freedom on.

    The expansion about the normal quantile, Abramowitz and Stegun 26.7.5; one degree is exact.
    """
    if freedom == 1:
        return 12.7062
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
