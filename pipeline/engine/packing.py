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
        parents = np.full(count, -1, dtype=np.int64)
        shared = np.zeros(count, dtype=np.int64)
    else:
        parents = sequences.parents[:count]
        shared = np.where(parents >= 0, lengths[parents], 0)
        order = np.lexsort((-own, parents, -shared)).astype(np.int64)
    starts, used, before = [0], 0, -1
    for place, leaf in enumerate(order.tolist()):
        parent = int(parents[leaf])
        cost = int(own[leaf]) + (int(shared[leaf]) if parent != before else 0)
        if used and used + cost > budget:
            starts.append(place)
            cost, used = int(own[leaf] + shared[leaf]), 0
        used += cost
        before = parent
    return np.split(order, starts[1:]) if count else []


def gather(sequences: Sequences, leaves: Int64s, device: torch.device) -> Batch:
    """Some leaves of a unit as one flat batch, the beginnings that they share in front."""
    order, parents = _with_parents(sequences, leaves)
    counts = sequences.lengths[order]
    tokens = ragged_range(sequences.offsets[order], counts)
    readout_counts = np.diff(sequences.readout_offsets)[order]
    readouts = ragged_range(sequences.readout_offsets[order], readout_counts)
    return Batch(
        token_ids=sequences.token_ids[tokens],
        offsets=np.append(0, np.cumsum(counts)).astype(np.int64),
        segment_ids=None if sequences.segment_ids is None else sequences.segment_ids[tokens],
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
