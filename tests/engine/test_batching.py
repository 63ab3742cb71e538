from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.batching import gather, token_budget_batches
from pipeline.rerankers.base import Sequences


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_batches_hold_every_sequence_once_within_the_budget(
    lengths: list[int], budget: int
) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = token_budget_batches(array, budget)
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
