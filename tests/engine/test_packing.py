from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.packing import gather, packed_batches, padded_batches
from pipeline.sequences.sequences import Sequences


def flat(lengths: list[int], parents: list[int] | None = None) -> Sequences:
    """Sequences with distinct token ids; those behind the last leaf have no readout."""
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    places = None if parents is None else np.array(parents, dtype=np.int64)
    leaves = len(lengths) if places is None else int((places >= 0).sum()) or len(lengths)
    each = (np.arange(len(lengths)) < leaves).astype(np.int64)
    return Sequences(
        token_ids=np.arange(offsets[-1], dtype=np.int32),
        offsets=offsets,
        readout_positions=np.array([n - 1 for n in lengths[:leaves]], np.int32),
        readout_offsets=np.append(0, np.cumsum(each)).astype(np.int64),
        parents=places,
    )


@st.composite
def families(draw: st.DrawFn) -> Sequences:
    """Leaves that share beginnings, in any order."""
    shared = draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    own = draw(st.lists(st.integers(1, 30), min_size=1, max_size=40))
    which = draw(st.lists(st.integers(0, len(shared) - 1), min_size=len(own), max_size=len(own)))
    parents = [len(own) + w for w in which] + [-1] * len(shared)
    return flat(own + shared, parents)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_packed_batches_hold_every_sequence_once_and_waste_nothing(
    lengths: list[int], budget: int
) -> None:
    sequences = flat(lengths)
    batches = packed_batches(sequences, budget)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        tokens = len(gather(sequences, batch, torch.device("cpu")).token_ids)
        assert tokens == sequences.lengths[batch].sum()
        assert len(batch) == 1 or tokens <= budget
    ordered = [int(n) for batch in batches for n in sequences.lengths[batch]]
    assert ordered == sorted(ordered, reverse=True)


@given(families(), st.integers(1, 120))
def test_a_shared_beginning_is_in_a_batch_once_and_before_its_leaves(
    sequences: Sequences, budget: int
) -> None:
    batches = packed_batches(sequences, budget)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(sequences.leaves))
    assert sequences.parents is not None
    for leaves in batches:
        batch = gather(sequences, leaves, torch.device("cpu"))
        assert batch.parents is not None
        roots = len(batch.chosen) - len(leaves)
        assert batch.chosen[roots:].tolist() == leaves.tolist()
        assert len(set(batch.chosen[:roots].tolist())) == roots
        assert (batch.parents[:roots] == -1).all()
        found = batch.chosen[batch.parents[roots:]]
        assert found.tolist() == sequences.parents[leaves].tolist()
        assert (np.diff(batch.parents[roots:]) >= 0).all(), "leaves of a parent are not together"
        assert len(leaves) == 1 or len(batch.token_ids) <= budget
        assert batch.readout_sequences.min() >= roots


@given(families())
def test_unshared_leaves_carry_their_beginning_in_front(sequences: Sequences) -> None:
    alone = sequences.unshared()
    assert alone.parents is None
    assert len(alone) == sequences.leaves
    assert sequences.parents is not None
    for leaf in range(sequences.leaves):
        parent = int(sequences.parents[leaf])
        expected = np.concatenate([tokens(sequences, parent), tokens(sequences, leaf)])
        assert tokens(alone, leaf).tolist() == expected.tolist()
        last = alone.readout_positions[alone.readout_offsets[leaf]]
        assert last == len(expected) - 1
    assert Sequences.from_ipc(sequences.to_ipc()).unshared().token_ids.tolist() == (
        alone.token_ids.tolist()
    )


def one_by_one(sequences: Sequences, budget: int) -> list[list[int]]:
    """Batches of the same order, filled leaf by leaf."""
    batches: list[list[int]] = [[]]
    for leaf in [int(leaf) for batch in packed_batches(sequences, 10**9) for leaf in batch]:
        grown = gather(sequences, np.array([*batches[-1], leaf]), torch.device("cpu"))
        if batches[-1] and len(grown.token_ids) > budget:
            batches.append([])
        batches[-1].append(leaf)
    return [batch for batch in batches if batch]


@given(
    st.one_of(families(), st.lists(st.integers(1, 50), max_size=60).map(flat)), st.integers(1, 200)
)
def test_a_batch_is_as_full_as_it_can_be(sequences: Sequences, budget: int) -> None:
    batches = [batch.tolist() for batch in packed_batches(sequences, budget)]
    assert batches == one_by_one(sequences, budget)


@given(st.one_of(families(), st.lists(st.integers(1, 50), max_size=60).map(flat)))
def test_tensors_of_a_batch_say_what_its_arrays_say(sequences: Sequences) -> None:
    for leaves in packed_batches(sequences, 60):
        batch = gather(sequences, leaves, torch.device("cpu"))
        batch = replace(batch, segment_ids=(batch.token_ids % 3).astype(np.int8))
        tensors = batch.tensors
        assert tensors.token_ids.tolist() == batch.token_ids.tolist()
        assert tensors.segment_ids is not None
        assert tensors.segment_ids.tolist() == (batch.token_ids % 3).tolist()
        assert tensors.lengths.tolist() == batch.lengths.tolist()
        assert tensors.ends.tolist() == batch.offsets[1:].tolist()
        last = tensors.ends - 1  # these sequences are read where they end
        parents = np.full(len(batch.lengths), -1) if batch.parents is None else batch.parents
        read = parents >= 0 if batch.parents is not None else parents < 0
        assert tensors.readout_rows.tolist() == last[torch.from_numpy(read)].tolist()
        before = np.where(parents >= 0, batch.lengths[parents], 0)
        position = last + tensors.shifts
        assert position.tolist() == (batch.lengths - 1 + before).tolist()
        assert {t.dtype for t in vars(tensors).values()} == {torch.int64}


def tokens(sequences: Sequences, place: int) -> np.ndarray:
    return sequences.token_ids[sequences.offsets[place] : sequences.offsets[place + 1]]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_padded_batches_hold_every_sequence_once_within_the_budget(
    lengths: list[int], budget: int
) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = padded_batches(array, budget)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * array[batch].max() <= max(budget, len(batch))
    longest = [int(array[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_gather_takes_tokens_segments_and_readouts_of_the_chosen() -> None:
    sequences = Sequences(
        token_ids=np.arange(9, dtype=np.int32),
        offsets=np.array([0, 2, 5, 9]),
        segment_ids=np.arange(9, dtype=np.int8),
        readout_positions=np.array([1, 0, 2, 3], np.int32),
        readout_offsets=np.array([0, 1, 3, 4]),
    )
    batch = gather(sequences, np.array([2, 1]), torch.device("cpu"))
    assert batch.token_ids.tolist() == [5, 6, 7, 8, 2, 3, 4]
    assert batch.segment_ids is not None
    assert batch.segment_ids.tolist() == batch.token_ids.tolist()
    assert batch.offsets.tolist() == [0, 4, 7]
    assert batch.readout_positions.tolist() == [3, 0, 2]
    assert batch.readout_sequences.tolist() == [0, 1, 1]


def test_sequences_survive_the_journey_as_ipc() -> None:
    sequences = Sequences(
        token_ids=np.arange(4, dtype=np.int32),
        offsets=np.array([0, 4]),
        readout_positions=np.array([0], np.int32),
        readout_offsets=np.array([0, 1]),
        links={"document": np.array([[1, 2], [3, 4]])},
        images=(np.zeros((2, 3, 3), np.uint8), np.ones((1, 1, 3), np.uint8)),
        rejected=((3, "image_decode"), (5, "image_fetch"), (7, "image_decode")),
    )
    again = Sequences.from_ipc(sequences.to_ipc())
    assert again.rejected == sequences.rejected
    assert again.segment_ids is None
    assert again.links["document"].tolist() == [[1, 2], [3, 4]]
    assert [image.shape for image in again.images] == [(2, 3, 3), (1, 1, 3)]
    read = Sequences.from_ipc(again.without_tokens().to_ipc())
    assert (len(read.token_ids), read.images, read.rejected) == (0, (), sequences.rejected)
    assert read.lengths.tolist() == [4]
    assert read.readout_offsets.tolist() == [0, 1]
    assert read.links["document"].tolist() == [[1, 2], [3, 4]]
