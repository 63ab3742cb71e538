"""Which pairs of a run somebody has judged."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.ranking.judged_pairs import judged_pairs, of_queries

QRELS = {"1": {"a": 2, "b": 0}, "2": {"a": 1}, "3": {"a": 1}}


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_pairs_of_the_queries_that_count_with_a_score(kind: pa.DataType) -> None:
    table = pa.table(
        {
            "query_id": pa.array(["1", "1", "1", "2", "3", "9"]).cast(kind),
            "doc_id": ["a", "b", "x", "a", "a", "a"],
            "score": pa.array([0.5, 0.25, 0.75, None, 2.0, 3.0], pa.float32()),
        }
    )
    found = judged_pairs(table, QRELS, ["1", "2"])
    assert (found.scores.tolist(), found.grades.tolist()) == ([0.5, 0.25], [2, 0])
    all_of_them = judged_pairs(table, QRELS, ["1", "2"], unjudged=0)
    assert (all_of_them.scores.tolist(), all_of_them.grades.tolist()) == (
        [0.5, 0.25, 0.75],
        [2, 0, 0],
    )
    assert of_queries(table, ["9", "1"]).column("doc_id").to_pylist() == ["a", "b", "x", "a"]
    assert of_queries(table, []).num_rows == 0
