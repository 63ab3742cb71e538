from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.conditions import conditions_of, matching
from pipeline.sources.source import open_source
from tests.support.source_rows import rows_of, write

ROWS = [
    {"query_id": f"q{n}", "doc_id": f"d{n}", "lang": "de" if n % 3 else "en", "score": n / 2,
     "year": None if n == 4 else 2000 + n}
    for n in range(8)
]  # fmt: skip

CASES: list[tuple[list[Any], list[int]]] = [
    ([["lang", "==", "en"]], [0, 3, 6]),
    ([["score", ">", 1]], [3, 4, 5, 6, 7]),
    ([["lang", "=", "de"], ["score", "<=", 1.0]], [1, 2]),
    ([[["score", "<", 0.5]], [["year", ">=", 2007]]], [0, 7]),
    ([["year", "!=", 2000]], [1, 2, 3, 5, 6, 7]),
    ([["doc_id", "in", ["d1", "d7", "x"]]], [1, 7]),
    ([["doc_id", "not in", ["d1", "d7"]]], [0, 2, 3, 4, 5, 6]),
    ([["year", "==", 1999]], []),
]


@pytest.mark.parametrize(("conditions", "expected"), CASES)
@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.tsv", "x.csv"])
def test_rows_that_do_not_match_are_no_candidates(
    name: str, conditions: list[Any], expected: list[int], tmp_path: Path
) -> None:
    path = tmp_path / name
    if name == "x.parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=3)
    elif name == "x.jsonl":
        write(path, "".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        glue = "\t" if name == "x.tsv" else ","
        lines = [glue.join(ROWS[0])]
        lines += [glue.join("" if v is None else str(v) for v in row.values()) for row in ROWS]
        write(path, "\n".join(lines))
    found = rows_of("candidates", path, filter=conditions)
    assert [row["doc_id"] for row in found] == [f"d{n}" for n in expected]


def test_row_groups_without_a_match_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
    config = InputConfig(
        path=(str(path),), corpus=("x",), queries=("x",), filter=(("year", ">", 2004),)
    )
    source = open_source("candidates", [str(path)], config)
    assert [(shard.start, shard.stop) for shard in source.shards(1)] == [(4, 6), (6, 8)]
    assert [(shard.start, shard.stop) for shard in source.shards(1 << 30)] == [(4, 8)]
    whole = open_source("candidates", [str(path)], config.model_copy(update={"filter": None}))
    assert source.size_bytes < whole.size_bytes


@given(
    st.lists(st.integers(-3, 3) | st.none(), min_size=1, max_size=12),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    st.integers(-4, 4),
)
@settings(max_examples=40, deadline=None)
def test_row_groups_are_left_out_only_where_nothing_matches(
    values: list[int | None], operator: str, value: int
) -> None:
    ids = [str(n) for n in range(len(values))]
    column = pa.array(values, pa.int64())
    table = pa.table({"query_id": ["q"] * len(values), "doc_id": ids, "v": column})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        pq.write_table(table, path, row_group_size=2)
        found = rows_of("candidates", path, target=1, filter=[["v", operator, value]])
    conditions = conditions_of([["v", operator, value]])
    places = matching(conditions, {"v": column}, "x")
    assert [row["doc_id"] for row in found] == [str(place) for place in places]


def test_a_filter_that_cannot_be_applied_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    with pytest.raises(InputContractError, match=r"input\.filter names 'language'"):
        rows_of("candidates", path, filter=[["language", "==", "en"]])
    with pytest.raises(InputContractError, match=r"cannot be applied .*lang holds string"):
        rows_of("candidates", path, filter=[["lang", ">", 5]])
    run = write(tmp_path / "run", "q Q0 d 1 2 x\n")
    with pytest.raises(InputContractError, match=r"columns found: query_id, Q0, doc_id, rank"):
        rows_of("candidates", run, filter=[["lang", "==", "en"]])
    assert rows_of("candidates", run, filter=[["rank", ">", 1]]) == []
