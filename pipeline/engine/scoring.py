"""From readouts to one score and possibly one reason per document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.candidates import reasons

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.engine.engine import Readouts
    from pipeline.rerankers.base import Floats, Reranker, Sequences


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
