"""One deterministic order per candidate list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def rank_lists(
    scores: npt.NDArray[np.float32],
    first_stage_ranks: npt.NDArray[np.int32],
    doc_ids: pa.Array,
    lists: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Order the documents of every list.

    Score descending, then first-stage rank ascending, then doc_id ascending; documents without a
    score (NaN) come last, among themselves by the same rule. Scores are never compared across
    lists.

    Args:
        scores: float32 [N], NaN where a document was not scored.
        first_stage_ranks: int32 [N].
        doc_ids: [N] strings or integers.
        lists: int64 [N], ascending: the list each document is in.

    Returns:
        order: int64 [N], positions of documents sorted by list and rank.
        ranks: int32 [N], rank (1 = best) of ``order``'s documents.
    """
    missing = np.isnan(scores)
    keys = _sort_keys(doc_ids)
    descending = -np.where(missing, 0, scores)
    order = np.lexsort((keys, first_stage_ranks, descending, missing, lists)).astype(np.int64)
    sorted_lists = lists[order]
    starts = np.searchsorted(sorted_lists, sorted_lists)
    ranks = (np.arange(len(order)) - starts + 1).astype(np.int32)
    return order, ranks


def _sort_keys(doc_ids: pa.Array) -> npt.NDArray[np.int64]:
    """int64 [N] that sorts as the ids do; strings by their UTF-8 bytes, null last."""
    encoded = doc_ids.dictionary_encode()
    places = pc.sort_indices(encoded.dictionary).to_numpy()
    position = np.empty(len(places), dtype=np.int64)
    position[places] = np.arange(len(places))
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where(indices < 0, len(places), position[indices] if len(position) else 0)
