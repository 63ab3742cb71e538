from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sequences.last_tokens import read_before
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import common_beginnings, groups, share_beginnings

PADDING = 7


def sequences_of(texts: list[list[int]]) -> Sequences:
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    return Sequences.one_readout_each(
        np.array([token for text in texts for token in text], dtype=np.int32),
        np.append(0, np.cumsum(lengths)),
        positions=(lengths - 1).astype(np.int32),
    )


def test_nothing_changes_where_no_sequence_ends_in_it() -> None:
    sequences = sequences_of([[7, 1], [2], [7, 7, 3]])
    assert read_before(sequences, PADDING) is sequences


@given(st.lists(st.lists(st.sampled_from([1, 2, PADDING]), min_size=1, max_size=6), min_size=1))
@pytest.mark.parametrize("shared", [False, True])
def test_the_last_other_token_is_read_or_else_the_first(shared: bool, texts: Any) -> None:
    texts = [[1, PADDING, *text] for text in texts] if shared else texts
    sequences = sequences_of(texts)
    if shared:
        one = groups(np.zeros(len(texts), dtype=np.int64))
        sequences = share_beginnings(sequences, one, common_beginnings(sequences, one))
    found = read_before(sequences, PADDING).unshared()
    assert found.token_ids.tolist() == [token for text in texts for token in text]
    wanted = [
        max((place for place, token in enumerate(text) if token != PADDING), default=0)
        for text in texts
    ]
    assert found.readout_positions.tolist() == wanted
