"""MaxSim over flat token vectors: a pure function that bounds its own memory."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Floats, Int64s

#: Document vectors that are compared with a query at once.
_ROWS: Final = 65_536

#: Score of a document without any vector, below every other one, as sentence-transformers has it.
_EMPTY: Final = -1e9


def max_similarity(
    vectors: Floats, offsets: Int64s, *, queries: Int64s, documents: Int64s, lists: Int64s
) -> Floats:
    """Score every document of every list against the list's query.

    Args:
        vectors: float32 [R, D], the vectors of all texts, one after the other.
        offsets: int64 [S + 1], where each text's vectors begin and end.
        queries: int64 [Q], the text of each list's query.
        documents: int64 [N], the text of each document.
        lists: int64 [Q + 1]; list ``i`` is ``documents[lists[i]:lists[i + 1]]``.

    Returns:
        float32 [N]: for each document the sum, over its query's vectors, of the greatest dot
        product with any of the document's; NaN where a vector is NaN, -1e9 for a document without
        vectors.
    """
    scores = np.empty(len(documents), dtype=np.float32)
    counts = np.diff(offsets)
    for query, first, last in zip(queries, lists[:-1], lists[1:], strict=True):
        if first == last:
            continue
        asked = vectors[offsets[query] : offsets[query + 1]]
        texts, place = np.unique(documents[first:last], return_inverse=True)
        values = np.full(len(texts), _EMPTY, dtype=np.float32)
        filled = np.flatnonzero(counts[texts])
        for block in _blocks(counts[texts[filled]]):
            part = filled[block]
            rows = ragged_range(offsets[texts[part]], counts[texts[part]])
            similarities = vectors[rows] @ asked.T
            starts = np.cumsum(counts[texts[part]]) - counts[texts[part]]
            best = np.maximum.reduceat(similarities, starts, axis=0)
            values[part] = best.sum(axis=1, dtype=np.float64)
        scores[first:last] = values[place]
    return scores


def _blocks(counts: Int64s) -> list[slice]:
    """Consecutive texts of about ``_ROWS`` vectors together."""
    block = (np.cumsum(counts) - counts) // _ROWS
    edges = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(counts))
    return [slice(int(start), int(end)) for start, end in pairwise(edges)]
