"""Which sequences go through the model together: pure functions over lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.rerankers.base import Batch, Sequences
from pipeline.rerankers.support.tokens import ragged_range

if TYPE_CHECKING:
    import torch

Int64s = npt.NDArray[np.int64]


def token_budget_batches(lengths: Int64s, budget: int) -> list[Int64s]:
    """Sort by length and cut, so that rows times longest stays within the budget.

    Args:
        lengths: int64 [S], tokens of each sequence.
        budget: padded tokens of one batch; a longer sequence gets a batch of its own.

    Returns:
        Positions of each batch, longest batch first: the largest allocation comes first, so memory
        does not fragment and an out-of-memory shows at once. The same lengths give the same
        batches.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    batches, start = [], 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def gather(sequences: Sequences, chosen: Int64s, device: torch.device) -> Batch:
    """The chosen sequences of a unit as one flat batch."""
    counts = sequences.lengths[chosen]
    tokens = ragged_range(sequences.offsets[chosen], counts)
    offsets = np.append(0, np.cumsum(counts)).astype(np.int64)
    readout_counts = np.diff(sequences.readout_offsets)[chosen]
    readouts = ragged_range(sequences.readout_offsets[chosen], readout_counts)
    return Batch(
        token_ids=sequences.token_ids[tokens],
        offsets=offsets,
        segment_ids=None if sequences.segment_ids is None else sequences.segment_ids[tokens],
        readout_positions=sequences.readout_positions[readouts],
        readout_sequences=np.repeat(np.arange(len(chosen)), readout_counts),
        chosen=chosen,
        sequences=sequences,
        device=device,
    )
