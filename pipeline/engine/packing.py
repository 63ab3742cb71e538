"""Which sequences go through the model together: pure functions over lengths.

Packed batches hold sequences one after the other and waste nothing; padded ones are matrices, and
are cut from a sorted list so that they waste little. The same lengths always give the same batches,
whatever ran before, so a unit scored again on the same hardware gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.sequences.batch import Batch
from pipeline.sequences.ragged import ragged_range
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

Int64s = npt.NDArray[np.int64]


def padded_batches(lengths: Int64s, budget: int) -> list[Int64s]:
    """Sort by length and cut, so that rows times longest stays within the budget.

    Args:
        lengths: int64 [S], tokens of each sequence.
        budget: padded tokens of one batch; a longer sequence gets a batch of its own.

    Returns:
        Positions of each batch, longest batch first: the largest allocation comes first, so memory
        does not fragment and an out-of-memory shows at once.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    batches, start = [], 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def packed_batches(sequences: Sequences, budget: int) -> list[Int64s]:
    """Sort by length and cut, so that the tokens of a batch stay within the budget.

    Sequences that share a beginning stand together, and the beginning counts once in a batch.

    Args:
        sequences: a unit's.
        budget: tokens of one batch; what exceeds it alone gets a batch of its own.

    Returns:
        Leaves of each batch, in the batch's order; batches with the longest come first.
    """
    lengths, count = sequences.lengths, sequences.leaves
    own = lengths[:count]
    if sequences.parents is None:
        order = np.argsort(-own, kind="stable").astype(np.int64)
        return _cut(order, own[order], np.zeros(count, dtype=np.int64), budget)
    parents = sequences.parents[:count]
    shared = np.where(parents >= 0, lengths[parents], 0)
    order = np.lexsort((-own, parents, -shared)).astype(np.int64)
    own, parents, shared = own[order], parents[order], shared[order]
    goes_on = np.append(False, parents[1:] == parents[:-1])[:count]
    return _cut(order, own + np.where(goes_on, 0, shared), np.where(goes_on, shared, 0), budget)


def _cut(order: Int64s, costs: Int64s, again: Int64s, budget: int) -> list[Int64s]:
    """Cut an order into batches, with one step per batch.

    Args:
        order: int64 [n].
        costs: int64 [n], tokens that each adds to a batch that holds the one before it.
        again: int64 [n], what it costs on top where it is the first of its batch.
        budget: tokens of one batch; what exceeds it alone gets a batch of its own.
    """
    until = np.cumsum(costs)
    batches, start, before = [], 0, 0
    while start < len(order):
        most = before + budget - int(again[start])
        stop = max(start + 1, int(np.searchsorted(until, most, side="right")))
        batches.append(order[start:stop])
        start, before = stop, int(until[stop - 1])
    return batches


def gather(sequences: Sequences, leaves: Int64s, device: torch.device) -> Batch:
    """Some leaves of a unit as one flat batch, the beginnings that they share in front."""
    order, parents = _with_parents(sequences, leaves)
    counts = sequences.lengths[order]
    tokens = ragged_range(sequences.offsets[order], counts)
    readout_counts = np.diff(sequences.readout_offsets)[order]
    readouts = ragged_range(sequences.readout_offsets[order], readout_counts)
    return Batch(
        token_ids=sequences.token_ids.take(tokens),
        offsets=np.append(0, np.cumsum(counts)).astype(np.int64),
        segment_ids=None if sequences.segment_ids is None else sequences.segment_ids.take(tokens),
        readout_positions=sequences.readout_positions[readouts],
        readout_sequences=np.repeat(np.arange(len(order)), readout_counts),
        chosen=order,
        sequences=sequences,
        device=device,
        parents=parents,
    )


def _with_parents(sequences: Sequences, leaves: Int64s) -> tuple[Int64s, Int64s | None]:
    """Places of a batch's sequences, parents first, and the parent of each inside the batch."""
    if sequences.parents is None:
        return leaves, None
    parents = sequences.parents[leaves]
    distinct, first = np.unique(parents[parents >= 0], return_index=True)
    shared = distinct[np.argsort(first)]  # in the order in which their leaves come
    place = np.full(len(sequences), -1, dtype=np.int64)
    place[shared] = np.arange(len(shared))
    inside = np.where(parents >= 0, place[parents], -1)
    none = np.full(len(shared), -1, dtype=np.int64)
    return np.concatenate([shared, leaves]), np.concatenate([none, inside])
