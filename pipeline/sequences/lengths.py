"""How long sequences are: counts in fixed bins, which add up over units, sessions and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.sequences.arrays import Int64s

#: Bins an octave: the two ends of a bin are at most 19 % apart.
_STEPS: Final = 4

#: Longest sequence of each bin but the last, which has no end: none, up to 16 tokens, then a
#: quarter of an octave each, up to 2^20 tokens.
EDGES: Final[tuple[int, ...]] = (
    0,
    *(int(16 * 2 ** (step / _STEPS)) for step in range(16 * _STEPS + 1)),
)

#: The exact sum of all lengths, among the counts that :meth:`LengthHistogram.as_dict` gives.
TOKENS: Final = "tokens"
_LONGER: Final = "longer"
_NAMES: Final = (*(str(edge) for edge in EDGES), _LONGER)


def _none() -> Int64s:
    return np.zeros(len(_NAMES), np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class LengthHistogram:
    """Numbers of sequences by their length in tokens.

    Attributes:
        counts: int64 [67], sequences of each bin: of no token, of 1 to 16, … (:data:`EDGES` holds
            the longest of each), and of more than 2^20.
        total_tokens: the sum of all lengths, exactly.
    """

    counts: Int64s = field(default_factory=_none)
    total_tokens: int = 0

    @classmethod
    def of(cls, lengths: npt.ArrayLike) -> LengthHistogram:
        """Of the lengths int64 [n], none of them below 0."""
        values = np.asarray(lengths, np.int64)
        places = np.searchsorted(np.array(EDGES), values)
        return cls(
            counts=np.bincount(places, minlength=len(_NAMES)).astype(np.int64),
            total_tokens=int(values.sum()),
        )

    def add(self, other: LengthHistogram) -> LengthHistogram:
        """Both together."""
        return LengthHistogram(
            counts=self.counts + other.counts, total_tokens=self.total_tokens + other.total_tokens
        )

    @property
    def sequences(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Tokens of a sequence, on average; 0 where there is none."""
        return self.total_tokens / self.sequences if self.sequences else 0.0

    def quantile(self, q: float) -> float:
        """Length that a share ``q`` of all sequences does not exceed; 0 where there is none.

        Linear within a bin, so off by less than the bin is wide. What is longer than 2^20 tokens
        counts as that long.

        Raises:
            ValueError: ``q`` is no share, from 0 to 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is asked for by a share from 0 to 1, not by {q}")
        if not self.sequences:
            return 0.0
        reached = np.cumsum(self.counts)
        wanted = q * self.sequences
        place = int(np.searchsorted(reached, wanted))
        while not self.counts[place]:  # only at the share of an empty bin's end, and at q = 0
            place += 1
        if place == 0 or place == len(EDGES):
            return float(EDGES[min(place, len(EDGES) - 1)])
        low, high = EDGES[place - 1], EDGES[place]
        within = (wanted - (reached[place] - self.counts[place])) / self.counts[place]
        return float(low + within * (high - low))

    def as_dict(self) -> dict[str, int]:
        """Numbers by name that may be added up one by one: bins that are not empty, and tokens."""
        bins = {name: int(n) for name, n in zip(_NAMES, self.counts, strict=True) if n}
        return {TOKENS: self.total_tokens} | bins

    @classmethod
    def from_dict(cls, content: Mapping[str, float]) -> LengthHistogram:
        """The inverse of :meth:`as_dict`, also of sums of such numbers.

        Raises:
            ValueError: a name is no bin's, or a number is no count.
        """
        places = {name: place for place, name in enumerate(_NAMES)}
        counts = _none()
        for name, number in content.items():
            if name != TOKENS and name not in places:
                raise ValueError(f"{name!r} is no bin of sequence lengths; they are {_NAMES}")
            if number != int(number) or number < 0:
                raise ValueError(f"{name!r}: {number!r} is no count of sequences or tokens")
            if name != TOKENS:
                counts[places[name]] = int(number)
        return cls(counts=counts, total_tokens=int(content.get(TOKENS, 0)))
