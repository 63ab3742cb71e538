from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.candidates.inputs import open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import plan_units
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from tests.makers import long_table, nested_table, write, write_parts


def read_all(config: InputConfig, documents: int) -> list[CandidateLists]:
    source = open_input(config)
    plan = plan_units(source, documents=documents, fingerprint="f")
    return [read_lists(source, unit.start, unit.stop) for unit in plan.units]


def rows_of(parts: list[CandidateLists]) -> list[tuple[object, ...]]:
    rows = []
    for lists in parts:
        queries = lists.queries.to_pylist()
        for query, document in zip(
            lists.query_of_document, lists.documents.to_pylist(), strict=True
        ):
            rows.append((queries[query]["query_id"], document["doc_id"], document["text"]))
    return rows


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    files=st.integers(1, 4),
    row_group=st.integers(1, 7),
    documents=st.integers(1, 20),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_is_in_exactly_one_unit_and_lists_stay_whole(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    files: int,
    row_group: int,
    documents: int,
) -> None:
    rows = [
        {"query_id": f"q{q}", "query": f"query {q}", "doc_id": f"{q}-{d}", "text": f"text {d}"}
        for q, size in enumerate(sizes)
        for d in range(size)
    ]
    folder = tmp_path_factory.mktemp("parts")
    write_parts(folder, pa.Table.from_pylist(rows), files, row_group_size=row_group)
    parts = read_all(InputConfig(path=(str(folder),)), documents)
    assert rows_of(parts) == [(r["query_id"], r["doc_id"], r["text"]) for r in rows]
    found = [query for lists in parts for query in lists.queries.column("query_id").to_pylist()]
    assert found == [f"q{q}" for q in range(len(sizes))]


def test_long_and_nested_layouts_hold_the_same_lists(tmp_path: Path) -> None:
    table = long_table()
    flat = write(tmp_path / "long.parquet", table)
    nested = write(tmp_path / "nested.parquet", nested_table(table))
    [one] = read_all(InputConfig(path=(str(flat),)), 10_000)
    [two] = read_all(InputConfig(path=(str(nested),)), 10_000)
    assert one.queries.equals(two.queries)
    assert one.documents.equals(two.documents)
    assert np.array_equal(one.offsets, two.offsets)


def test_lists_survive_the_journey_as_ipc(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", long_table())
    [lists] = read_all(InputConfig(path=(str(path),)), 10_000)
    again = CandidateLists.from_ipc(lists.to_ipc())
    assert again.documents.equals(lists.documents)
    assert again.queries.equals(lists.queries)


def test_an_unsorted_query_inside_a_unit_is_named(tmp_path: Path) -> None:
    rows = [("a", 1), ("b", 2), ("a", 3)]
    table = pa.Table.from_pylist(
        [{"query_id": q, "query": q, "doc_id": str(d), "text": "t"} for q, d in rows]
    )
    path = write(tmp_path / "unsorted.parquet", table)
    with pytest.raises(InputContractError, match=r"unsorted\.parquet.*query_id 'a' stands in two"):
        read_all(InputConfig(path=(str(path),)), 100)


def test_a_nested_query_on_two_rows_is_refused(tmp_path: Path) -> None:
    table = nested_table(long_table(queries=2))
    path = write(tmp_path / "twice.parquet", pa.concat_tables([table, table.slice(1, 1)]))
    with pytest.raises(InputContractError, match="query_id 'q001' stands in two"):
        read_all(InputConfig(path=(str(path),)), 100)


def bad_rows() -> pa.Table:
    rows = [
        {"query_id": "a", "query": "red", "doc_id": "1", "text": "red"},
        {"query_id": "a", "query": "red", "doc_id": "2", "text": None},
        {"query_id": "a", "query": "red", "doc_id": None, "text": "red"},
        {"query_id": "a", "query": "red", "doc_id": "1", "text": "again"},
        {"query_id": "a", "query": "blue", "doc_id": "5", "text": "red"},
        {"query_id": "b", "query": None, "doc_id": "1", "text": "red"},
        {"query_id": None, "query": "x", "doc_id": "1", "text": "red"},
        {"query_id": "c", "query": "red", "doc_id": "1", "text": ""},
    ]
    return pa.Table.from_pylist(rows)


def test_bad_rows_stay_in_their_lists_with_a_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.parquet", bad_rows())
    [lists] = read_all(InputConfig(path=(str(path),)), 100)
    assert lists.documents.column("reason").to_pylist() == [
        None,
        "null_text",
        "null_doc_id",
        "duplicate_document",
        "query_mismatch",
        "null_query",
        "null_query_id",
        None,
    ]
    kept, places = lists.scoreable()
    assert places.tolist() == [0, 7]
    assert len(kept) == len(lists)
    assert kept.offsets.tolist() == [0, 1, 1, 1, 2]


def test_invalid_utf8_rejects_its_own_document_only(tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": ["a", "a"],
            "query": ["red", "red"],
            "doc_id": ["1", "2"],
            "text": pa.array([b"good", b"\xff\xfe"], pa.binary()),
        }
    )
    path = write(tmp_path / "binary.parquet", table)
    [lists] = read_all(InputConfig(path=(str(path),)), 100)
    assert lists.documents.column("reason").to_pylist() == [None, "invalid_utf8"]


@pytest.mark.parametrize(
    "types",
    [
        {"query_id": pa.int64(), "doc_id": pa.int32()},
        {"query_id": pa.large_string(), "text": pa.large_string()},
        {
            "query_id": pa.dictionary(pa.int32(), pa.string()),
            "query": pa.dictionary(pa.int32(), pa.string()),
            "text": pa.dictionary(pa.int32(), pa.large_string()),
        },
    ],
    ids=["integers", "large", "dictionary"],
)
def test_column_types_do_not_change_the_lists(
    tmp_path: Path, types: dict[str, pa.DataType]
) -> None:
    rows = [
        {"query_id": str(q), "query": f"q {q}", "doc_id": str(d), "text": f"t {d}"}
        for q in (3, 1, 2)
        for d in range(4)
    ]
    plain = pa.Table.from_pylist(rows)
    cast = plain.cast(
        pa.schema([pa.field(f.name, types.get(f.name, f.type)) for f in plain.schema])
        if "query" not in types
        else plain.schema
    )
    if "query" in types:
        for name in types:
            index = cast.column_names.index(name)
            cast = cast.set_column(index, name, cast.column(name).dictionary_encode())
    path = write(tmp_path / "typed.parquet", cast, row_group_size=5)
    parts = read_all(InputConfig(path=(str(path),)), 5)
    found = [tuple(str(v) for v in row) for row in rows_of(parts)]
    assert found == [(r["query_id"], r["doc_id"], r["text"]) for r in rows]
    expected = types.get("query_id", pa.string())
    wanted = expected if pa.types.is_integer(expected) else pa.string()
    assert parts[0].queries.schema.field("query_id").type == wanted


def test_first_stage_ranks_are_kept_or_derived(tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": ["a", "a", "a", "b", "b"],
            "query": ["x"] * 5,
            "doc_id": ["1", "2", "3", "1", "2"],
            "text": ["t"] * 5,
            "first_stage_score": [1.0, 3.0, 2.0, None, None],
            "first_stage_rank": pa.array([None, None, None, 7, 9], pa.int32()),
        }
    )
    path = write(tmp_path / "ranks.parquet", table)
    [lists] = read_all(InputConfig(path=(str(path),)), 100)
    assert lists.documents.column("first_stage_rank").to_pylist() == [3, 1, 2, 7, 9]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_a_rank_that_is_nan_is_none(tmp_path: Path, kind: pa.DataType) -> None:
    ranks = pa.array(np.array([2, np.nan, 1]), from_pandas=False).cast(kind)
    table = pa.table(
        {"query_id": ["a"] * 3, "query": ["x"] * 3, "doc_id": ["1", "2", "3"], "text": ["t"] * 3,
         "first_stage_rank": ranks}
    )  # fmt: skip
    assert ranks.null_count == 0
    path = write(tmp_path / "ranks.parquet", table)
    [lists] = read_all(InputConfig(path=(str(path),)), 100)
    assert lists.documents.column("first_stage_rank").to_pylist() == [1, 2, 3]  # as with null


def test_whole_scores_past_what_a_double_counts_are_the_nearest_one(tmp_path: Path) -> None:
    scores = [2**64 - 1, 2**53 + 1, 7, None]
    for kind in (pa.uint64(), pa.int64()):
        given = [score if score is None or score < 2**63 else None for score in scores]
        column = pa.array(given if kind == pa.int64() else scores, kind)
        table = pa.table(
            {"query_id": ["a"] * 4, "query": ["x"] * 4, "doc_id": ["1", "2", "3", "4"],
             "text": ["t"] * 4, "first_stage_score": column}
        )  # fmt: skip
        path = write(tmp_path / "scores.parquet", table)
        [lists] = read_all(InputConfig(path=(str(path),)), 100)
        expected = [None if score is None else float(score) for score in column.to_pylist()]
        assert lists.documents.column("first_stage_score").to_pylist() == expected


def test_text_columns_are_joined_without_the_empty_ones(tmp_path: Path) -> None:
    table = pa.table(
        {
            "query_id": ["a"] * 4,
            "query": ["x"] * 4,
            "doc_id": ["1", "2", "3", "4"],
            "title": ["T", None, "", None],
            "text": ["body", "body", "body", None],
        }
    )
    path = write(tmp_path / "titles.parquet", table)
    [alone] = read_all(InputConfig(path=(str(path),), text_columns=("text",)), 100)
    assert alone.documents.column("text").to_pylist() == ["body", "body", "body", None]
    [lists] = read_all(InputConfig(path=(str(path),)), 100)
    assert lists.documents.column("text").to_pylist() == ["T body", "body", "body", None]
    assert lists.documents.column("reason").to_pylist() == [None, None, None, "null_text"]


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", long_table())
    source = open_input(InputConfig(path=(str(path),)))
    write(path, long_table(seed=1))
    with pytest.raises(InputContractError, match=r"a\.parquet: changed since the run was planned"):
        read_lists(source, 0, source.rows)
