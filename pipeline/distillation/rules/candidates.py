"""The candidates of one query, as miners see them, and when two of them hold the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.texts import jaccard, normalised, word_shingles
from pipeline.hashes import Hashes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The usable candidates of one query, best first; those without a score come last.

    Attributes:
        scores: float64 [n], combined; NaN for a judged positive that stood in no list.
        relevance: int64 [n].
        judged: bool [n], whether ``relevance`` means anything.
        texts: [n], None where the document is an image.
        images: [n], what identifies the image, None where there is none.
        keys: uint64 [n], hash of each doc_id.
        query: hash of the query's id.
    """

    scores: Floats
    relevance: Ints
    judged: npt.NDArray[np.bool_]
    texts: Sequence[str | None]
    images: Sequence[bytes | str | None]
    keys: Hashes
    query: int

    def __len__(self) -> int:
        return len(self.scores)


class Content:
    """What positives and negatives so far contain, to see a document a second time."""

    def __init__(
        self, candidates: Candidates, positives: list[int], threshold: float | None
    ) -> None:
        self.candidates = candidates
        self.threshold = threshold
        self.positives = {self._identity(place) for place in positives}
        self.negatives: set[tuple[str | None, bytes | str | None]] = set()
        self.shingles = [
            word_shingles(identity[0])
            for identity in self.positives
            if threshold is not None and identity[0] and identity[1] is None
        ]

    def reason(self, place: int) -> str | None:
        """Why the document may not stand beside those before it."""
        identity = self._identity(place)
        if identity in self.positives:
            return reasons.DUPLICATE_OF_POSITIVE
        if identity in self.negatives:
            return reasons.DUPLICATE_OF_NEGATIVE
        if self.threshold is not None and self.shingles and identity[0] and identity[1] is None:
            shingles = word_shingles(identity[0])
            if any(jaccard(shingles, other) >= self.threshold for other in self.shingles):
                return reasons.NEAR_DUPLICATE_OF_POSITIVE
        return None

    def add(self, place: int) -> None:
        """Count a document among the negatives."""
        self.negatives.add(self._identity(place))

    def _identity(self, place: int) -> tuple[str | None, bytes | str | None]:
        text = self.candidates.texts[place]
        return (None if text is None else normalised(text)), self.candidates.images[place]
