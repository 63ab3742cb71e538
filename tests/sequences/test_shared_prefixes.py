from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import (
    common_beginning,
    common_beginnings,
    groups,
    saved_tokens,
    share_beginnings,
)


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Sequences, np.ndarray, np.ndarray]:
    """Sequences, the group of each, and what their group begins with."""
    beginnings = draw(st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=4))
    chosen = draw(st.lists(st.integers(0, len(beginnings) - 1), max_size=20))
    own = [draw(st.lists(st.integers(0, 3), min_size=1, max_size=6)) for _ in chosen]
    rows = [beginnings[g] + tail for g, tail in zip(chosen, own, strict=True)]
    offsets = np.append(0, np.cumsum([len(row) for row in rows])).astype(np.int64)
    sequences = Sequences.one_readout_each(
        np.array([i for row in rows for i in row], np.int32),
        offsets,
        positions=np.array([len(row) - 1 for row in rows], np.int32),
    )
    cut = np.array([len(beginnings[g]) for g in chosen], dtype=np.int64)
    return sequences, np.array(chosen, dtype=np.int64), cut


@given(grouped())
def test_sharing_and_writing_out_again_is_the_identity(case) -> None:
    sequences, group, cut = case
    shared = share_beginnings(sequences, group, cut)
    again = shared.unshared()
    assert again.token_ids.tolist() == sequences.token_ids.tolist()
    assert again.offsets.tolist() == sequences.offsets.tolist()
    assert again.readout_positions.tolist() == sequences.readout_positions.tolist()
    assert again.readout_offsets.tolist() == sequences.readout_offsets.tolist()
    assert shared.leaves == len(sequences)
    saved = int(sequences.offsets[-1] - shared.offsets[-1])
    assert saved == (saved_tokens(group, cut) if len(group) else 0)


def test_who_shares_with_nobody_stays_whole() -> None:
    ids = np.arange(9, dtype=np.int32)
    sequences = Sequences.one_readout_each(
        ids, np.array([0, 3, 6, 9]), positions=np.array([2, 2, 2], np.int32)
    )
    alone = share_beginnings(sequences, np.array([0, 1, 2]), np.array([2, 2, 2]))
    assert alone.parents is None
    two = share_beginnings(sequences, np.array([0, 1, 0]), np.array([2, 2, 2]))
    assert two.parents is not None
    assert two.parents.tolist() == [3, -1, 3, -1]
    assert two.lengths.tolist() == [1, 3, 1, 2]


def test_groups_number_combinations() -> None:
    first, second = np.array([5, 5, 9, 5]), np.array([1, 2, 1, 1])
    assert groups(first, second).tolist() == [0, 1, 2, 0]


@given(grouped())
def test_the_common_beginning_is_common_and_as_long_as_it_can_be(case) -> None:
    sequences, _, _ = case
    length = common_beginning(sequences)
    rows = [
        sequences.token_ids[a:b].tolist()
        for a, b in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)
    ]
    if not rows:
        assert length == 0
        return
    assert len({tuple(row[:length]) for row in rows}) == 1
    readable = min(len(row) - 1 for row in rows)
    assert length == readable or len({row[length] for row in rows}) > 1


@given(grouped())
def test_the_common_beginnings_of_groups(case) -> None:
    sequences, group, cut = case
    found = common_beginnings(sequences, group)
    assert (found >= cut).all()
    ends = pairwise(sequences.offsets.tolist())
    rows = [sequences.token_ids[a:b].tolist() for a, b in ends]
    for number in set(group.tolist()):
        members = [row for row, g in zip(rows, group, strict=True) if g == number]
        (length,) = set(found[group == number].tolist())
        room = min(map(len, members)) - 1
        assert all(row[:length] == members[0][:length] for row in members)
        assert length == room or len({row[length] for row in members}) > 1
    assert share_beginnings(sequences, group, found).unshared().to_ipc() == sequences.to_ipc()
