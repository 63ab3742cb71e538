"""What of a unit goes through the model; and back, one score and maybe a reason per document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.candidates import reasons

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.engine.rounds import Readouts
    from pipeline.rerankers.base import Reranker
    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Scoreable:
    """The part of a unit that a model scores.

    Attributes:
        lists: what is encoded: documents without a reason against them and without a score of an
            earlier run, and for a pointwise family each pair of query and document once. So equal
            pairs get the same score, whatever batch they would have been in, and their first-stage
            order decides between them.
        documents: int64 [M], the places among all [N] of those that get a score from the model.
        pairs: int64 [M], where each of them stands among the documents of :attr:`lists`.
    """

    lists: CandidateLists
    documents: npt.NDArray[np.int64]
    pairs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, lists: CandidateLists, reranker: Reranker) -> Scoreable:
        """The same for the same lists and family, so that each stage can find it by itself."""
        kept, documents = lists.unscored()
        if not reranker.pointwise:
            return cls(lists=kept, documents=documents, pairs=np.arange(len(documents)))
        distinct, pairs = kept.distinct_pairs()
        return cls(lists=distinct, documents=documents, pairs=pairs)

    def expand(
        self, reranker: Reranker, sequences: Sequences, readouts: Readouts
    ) -> tuple[Floats, npt.NDArray[np.object_]]:
        """float32 [M] scores and object [M] reason codes, as :func:`document_scores` gives them."""
        scores, codes = document_scores(reranker, self.lists, sequences, readouts)
        return scores[self.pairs], codes[self.pairs]


def document_scores(
    reranker: Reranker, lists: CandidateLists, sequences: Sequences, readouts: Readouts
) -> tuple[Floats, npt.NDArray[np.object_]]:
    """Decode, and name why a document has no finite score.

    A document without a score is blamed on memory when it would have had one with its too large
    sequences read as zeros, and on the model otherwise.

    Returns:
        float32 [N] scores, NaN where there is none; object [N] reason codes, None where scored.
    """
    scores = reranker.decode(lists, sequences, readouts.values)
    scores = np.where(np.isfinite(scores), scores, np.nan).astype(np.float32)
    codes = np.full(len(scores), None, dtype=object)
    codes[np.isnan(scores)] = reasons.NOT_FINITE
    if len(readouts.too_large):
        filled = readouts.values.copy()
        for sequence in readouts.too_large:
            first, last = sequences.readout_offsets[sequence : sequence + 2]
            filled[first:last] = 0.0
        otherwise = reranker.decode(lists, sequences, filled)
        codes[np.isnan(scores) & np.isfinite(otherwise)] = reasons.OUT_OF_MEMORY
    for document, code in sequences.rejected:
        codes[document] = code
    return scores, codes
