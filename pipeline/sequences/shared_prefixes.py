"""Beginnings that several sequences have in common, cut off and kept once.

In a causal network what a token is depends on what stands before it and on nothing behind it, so
the keys and values of a common beginning are the same in every sequence and need computing once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.sequences import Sequences


def share_beginnings(sequences: Sequences, group: Int64s, cut: Int64s) -> Sequences:
    """Sequences of one group go on after one copy of their beginning.

    Args:
        sequences: without parents, every readout behind its sequence's beginning.
        group: int64 [S]; sequences of equal number begin with the same tokens.
        cut: int64 [S], how many; the same throughout a group. Links must not hold token positions.

    Returns:
        The same leaves in the same order, shorter, and behind them the beginnings. A sequence that
        shares with no other stays whole.
    """
    if len(group) == 0:
        return sequences
    _, first, inverse, members = np.unique(
        group, return_index=True, return_inverse=True, return_counts=True
    )
    pays = (members > 1) & (cut[first] > 0)
    if not pays.any():
        return sequences
    shared = first[pays]
    place = np.full(len(members), -1, dtype=np.int64)
    place[pays] = len(group) + np.arange(len(shared))
    parents = place[inverse]
    taken = np.where(parents >= 0, cut, 0)
    lengths = np.concatenate([sequences.lengths - taken, cut[shared]])
    starts = np.concatenate([sequences.offsets[:-1] + taken, sequences.offsets[shared]])
    tokens = ragged_range(starts, lengths)
    readouts = np.diff(sequences.readout_offsets)
    positions = sequences.readout_positions - np.repeat(taken, readouts).astype(np.int32)
    assert positions.size == 0 or positions.min() >= 0, "a readout lies inside a shared beginning"
    last = np.full(len(shared), sequences.readout_offsets[-1], dtype=np.int64)
    return replace(
        sequences,
        token_ids=sequences.token_ids[tokens],
        offsets=np.append(0, np.cumsum(lengths)).astype(np.int64),
        segment_ids=None if sequences.segment_ids is None else sequences.segment_ids[tokens],
        readout_positions=positions,
        readout_offsets=np.concatenate([sequences.readout_offsets, last]),
        parents=np.concatenate([parents, np.full(len(shared), -1, dtype=np.int64)]),
    )


def groups(*keys: Int64s) -> Int64s:
    """int64 [S]: one number for each distinct combination of the keys [S]."""
    number = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        distinct, inverse = np.unique(key, return_inverse=True)
        number = np.unique(number * len(distinct) + inverse, return_inverse=True)[1]
    return number


def saved_tokens(group: Int64s, cut: Int64s) -> int:
    """Tokens that sharing by ``group`` would not compute again."""
    _, first, members = np.unique(group, return_index=True, return_counts=True)
    return int(((members - 1) * cut[first]).sum())


def common_beginning(sequences: Sequences) -> int:
    """Tokens that all sequences begin with alike, short of any readout."""
    if not len(sequences):
        return 0
    return int(common_beginnings(sequences, np.zeros(len(sequences), dtype=np.int64))[0])


def common_beginnings(sequences: Sequences, group: Int64s) -> Int64s:
    """int64 [S]: how many tokens all sequences of a group begin with alike, short of any readout.

    Args:
        sequences: without parents, each with a readout.
        group: int64 [S], see :func:`groups`.
    """
    if len(group) == 0:
        return np.zeros(0, dtype=np.int64)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    starts, common = sequences.offsets[:-1], np.full(len(first), np.iinfo(np.int64).max)
    read = np.minimum.reduceat(sequences.readout_positions, sequences.readout_offsets[:-1])
    np.minimum.at(common, inverse, read)
    room = common[inverse]
    differs = np.flatnonzero(
        sequences.token_ids[ragged_range(starts, room)]
        != sequences.token_ids[ragged_range(starts[first[inverse]], room)]
    )
    # Of each sequence, the first place that differs from the first of its group; or its end.
    begins = np.cumsum(room) - room
    place = np.append(differs, room.sum())[np.searchsorted(differs, begins)]
    np.minimum.at(common, inverse, np.minimum(place - begins, room))
    return common[inverse]
