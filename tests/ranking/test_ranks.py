from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ranking.ranks import rank_lists

candidate = st.tuples(
    st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("-inf"), 3.5]),
    st.integers(1, 3),
    st.sampled_from(["a", "b", "é", "Z", "10", "9"]),
)


@given(st.lists(st.lists(candidate, max_size=8), min_size=1, max_size=4))
def test_order_is_score_then_first_stage_rank_then_doc_id(
    lists: list[list[tuple[float, int, str]]],
) -> None:
    flat = [(q, *c) for q, documents in enumerate(lists) for c in documents]
    scores = np.array([row[1] for row in flat], dtype=np.float32)
    order, ranks = rank_lists(
        scores,
        np.array([row[2] for row in flat], dtype=np.int32),
        pa.array([row[3] for row in flat], pa.string()),
        np.array([row[0] for row in flat], dtype=np.int64),
    )
    expected = sorted(
        range(len(flat)),
        key=lambda i: (
            flat[i][0],
            bool(np.isnan(scores[i])),
            0 if np.isnan(scores[i]) else -scores[i],
            flat[i][2],
            flat[i][3].encode(),
            i,
        ),
    )
    assert order.tolist() == expected
    assert ranks.tolist() == [r for documents in lists for r in range(1, len(documents) + 1)]


def test_integer_ids_break_ties_as_numbers() -> None:
    order, _ = rank_lists(
        np.zeros(3, np.float32), np.ones(3, np.int32), pa.array([10, 9, 100]), np.zeros(3, np.int64)
    )
    assert order.tolist() == [1, 0, 2]
