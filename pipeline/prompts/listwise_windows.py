"""Windows of a list, and the merge of what a model said about each: pure functions.

Source: ``modeling.py`` of jinaai/jina-reranker-v3 (``rerank``). The published descriptions of the
model know nothing of several windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Floats, Int64s

#: Documents of a window at most.
MOST_DOCUMENTS: Final = 125

#: Vectors that are held in float64 at once.
_ROWS: Final = 8_192


@dataclass(frozen=True)
class Windows:
    """``W`` windows that partition the documents of all lists, in order.

    Attributes:
        offsets: int64 [W + 1]; window ``w`` is the documents ``offsets[w]`` to ``offsets[w + 1]``.
        query: int64 [W], the list that each window is of.
    """

    offsets: Int64s
    query: Int64s

    @property
    def of_document(self) -> Int64s:
        """int64 [N], the window that each document is in."""
        return np.repeat(np.arange(len(self.query)), np.diff(self.offsets))


def plan_windows(
    lengths: Int64s, lists: Int64s, *, room: Int64s, longest: int, most: int = MOST_DOCUMENTS
) -> Windows:
    """Fill windows in list order; close one when it is full or could not take a long document.

    The prompt's words around the documents are not counted, so a window's prompt may be longer
    than the room by some 15 tokens per document. Upstream does not cut it, nor is it cut here.

    Args:
        lengths: int64 [N], tokens of each document after its cut.
        lists: int64 [Q + 1], the documents of each list; an empty one has no window.
        room: int64 [Q], tokens for the documents of a window: the model's limit less twice the
            query's tokens. Where it is ``longest`` or less, each document has its own window.
        longest: tokens of a document at most; a window with no more room than this is closed.
        most: documents of a window at most.
    """
    ends: list[int] = [0]
    query: list[int] = []
    tokens = lengths.tolist()
    for i, (first, last) in enumerate(zip(lists[:-1].tolist(), lists[1:].tolist(), strict=True)):
        left = int(room[i])
        for document in range(first, last):
            left -= tokens[document]
            full = document + 1 - ends[-1] >= most or left <= longest
            if full or document + 1 == last:
                ends.append(document + 1)
                query.append(i)
                left = int(room[i])
    return Windows(np.array(ends, dtype=np.int64), np.array(query, dtype=np.int64))


def merged_cosines(vectors: Floats, windows: Windows) -> Floats:
    """One score per document: its cosine with its list's query vector.

    A list has one query vector per window, each as the model saw it after the window's documents.
    They are averaged as they are, not normalised, with the weights ``max(1 + cosine) / 2`` over
    the window's own documents. Two zero vectors have the cosine 0. Where all weights of a list are
    zero, which upstream does not survive, they count as equal.

    Args:
        vectors: float32 [N + W, D], window by window its documents' vectors, then its query's.
        windows: the plan by which they were made.

    Returns:
        float32 [N]; NaN for all documents of a list with a NaN in any of its vectors' cosines,
        because each has a part in the query vector of all.
    """
    window = windows.of_document
    if len(window) == 0:
        return np.zeros(0, dtype=np.float32)
    documents = np.arange(len(window)) + window
    queries = windows.offsets[1:] + np.arange(len(windows.query))
    best = np.maximum.reduceat(
        _cosines(vectors, documents, vectors, queries[window]), windows.offsets[:-1]
    )
    weights = (1.0 + best) / 2.0
    first = np.flatnonzero(np.diff(windows.query, prepend=-1))
    of_window = np.repeat(np.arange(len(first)), np.diff(first, append=len(weights)))
    weights = np.where(np.add.reduceat(weights, first)[of_window] == 0.0, 1.0, weights)
    weights /= np.add.reduceat(weights, first)[of_window]
    merged = np.add.reduceat(weights[:, None] * vectors[queries].astype(np.float64), first)
    return _cosines(vectors, documents, merged, of_window[window]).astype(np.float32)


def _cosines(
    left: npt.NDArray[np.floating],
    of_left: Int64s,
    right: npt.NDArray[np.floating],
    of_right: Int64s,
) -> npt.NDArray[np.float64]:
    """float64 [N]: cosine of row ``of_left[i]`` with row ``of_right[i]``, 0 for a zero vector."""
    cosines = np.empty(len(of_left), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        for start in range(0, len(of_left), _ROWS):
            part = slice(start, start + _ROWS)
            a = left[of_left[part]].astype(np.float64)
            b = right[of_right[part]].astype(np.float64)
            scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            product = np.einsum("nd,nd->n", a, b)
            cosines[part] = np.divide(product, scale, out=np.zeros_like(scale), where=scale != 0)
    return cosines
