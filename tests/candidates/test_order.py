"""Sorted, grouped or scattered: against an oracle that looks at every row."""

from __future__ import annotations

import uuid
from itertools import groupby, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.order import Order, order_of
from pipeline.config import InputConfig
from pipeline.errors import InputContractError

STRINGS = pa.string()


def rows(ids: list[object], kind: pa.DataType = STRINGS) -> pa.Table:
    texts = pa.array(["t"] * len(ids), pa.string())
    query_ids = ids if isinstance(ids, pa.Array) else pa.array(ids, kind)
    return pa.table({"query_id": query_ids, "query": texts, "doc_id": texts, "text": texts})


def lists(ids: list[object], kind: pa.DataType = STRINGS) -> pa.Table:
    candidates = pa.array([[{"doc_id": "d", "text": "t"}]] * len(ids))
    texts = pa.array(["t"] * len(ids), pa.string())
    return pa.table({"query_id": pa.array(ids, kind), "query": texts, "candidates": candidates})


def opened(folder: Path) -> Input:
    return open_input(InputConfig(path=(str(folder),)))


def written(folder: Path, *files: pa.Table, row_group_size: int = 3, **options: object) -> Input:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for number, table in enumerate(files):
        path = folder / f"{number:03d}.parquet"
        pq.write_table(table, path, row_group_size=row_group_size, **options)
    return opened(folder)


def expected(ids: list[object], *, nested: bool = False) -> str:
    runs = ids if nested else [key for key, _ in groupby(ids)]
    named = [value for value in runs if value is not None]
    if len(set(named)) < len(named):
        return "scattered"
    return "sorted" if all(a < b for a, b in pairwise(named)) else "grouped"


def runs_of_ids(values: list[object]) -> st.SearchStrategy[list[object]]:
    """Ids in runs, so that all three kinds come up, in files."""
    run = st.tuples(st.sampled_from(values), st.integers(1, 7))
    flat = st.lists(run, min_size=1, max_size=9).map(
        lambda parts: [value for value, count in parts for _ in range(count)]
    )
    return st.one_of(flat, flat.map(lambda ids: sorted(ids, key=lambda x: (x is None, str(x)))))


ONCE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = ["", "a", "A", "b", "q10", "q9", "é", "e\u0301", "x" * 40, "x" * 40 + "y", None]
NUMBERS = [0, 1, 2, -5, 2**53, 2**53 + 1, None]


@pytest.mark.slow
@ONCE
@given(
    ids=runs_of_ids(NAMES), parts=st.integers(1, 4), group=st.integers(1, 6), nested=st.booleans()
)
def test_text_ids_as_the_oracle(
    tmp_path: Path, ids: list[object], parts: int, group: int, nested: bool
) -> None:
    check(tmp_path, ids, parts, group, nested=nested, kind=pa.string())


@pytest.mark.slow
@ONCE
@given(ids=runs_of_ids(NUMBERS), parts=st.integers(1, 4), group=st.integers(1, 6))
def test_numbers_as_the_oracle(tmp_path: Path, ids: list[object], parts: int, group: int) -> None:
    check(tmp_path, ids, parts, group, nested=False, kind=pa.int64())


def check(
    folder: Path, ids: list[object], parts: int, group: int, *, nested: bool, kind: pa.DataType
) -> None:
    edges = [len(ids) * part // parts for part in range(parts + 1)]
    make = lists if nested else rows
    tables = [make(ids[a:b], kind) for a, b in pairwise(edges)]
    source = written(folder / "in", *tables, row_group_size=group)
    order = order_of(source)
    assert order.kind == expected(ids, nested=nested)
    if order.kind != "scattered":
        assert order.queries == len(set(ids) - {None})
        assert order.example is None
    else:
        assert_apart(order, source, ids, nested=nested)
    # What a sample calls scattered is; it may only overlook something.
    sampled = order_of(source, whole_bytes=100)
    if sampled.kind == "scattered":
        assert_apart(sampled, source, ids, nested=nested)
    if order.kind == "sorted":
        assert sampled.kind == "sorted"


def assert_apart(order: Order, source: Input, ids: list[object], *, nested: bool) -> None:
    assert order.example is not None
    firsts = {file.identity.path: file.first for file in source.files}
    places = (order.example.first, order.example.second)
    first, second = (firsts[place.path] + place.row for place in places)
    assert ids[first] == ids[second] == order.example.query_id
    assert nested or any(value != ids[first] for value in ids[first:second])


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ([["a"] * 5, ["a", "a"], ["b"] * 4], "sorted"),
        ([["b"] * 5, ["a"] * 4], "grouped"),
        ([["b"] * 5, ["a"] * 4, ["b"]], "scattered"),
        ([["b"] * 5, [None] * 4, ["b"]], "scattered"),
        ([[None] * 5, ["b"], [None]], "sorted"),
    ],
)
def test_footers_settle_one_query_a_row_group(tmp_path: Path, files: list, kind: str) -> None:
    source = written(tmp_path / "in", *map(rows, files))
    for file in source.files:  # nothing but the footer can be read
        spoil_values(Path(file.identity.path))
    order = order_of(source)
    assert (order.kind, order.checked) == (kind, "footers")


def spoil_values(path: Path) -> None:
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[-8:-4], "little")
    data[4 : len(data) - 8 - length] = bytes(len(data) - 12 - length)
    path.write_bytes(data)


def test_ranges_of_row_groups_that_contradict_each_other(tmp_path: Path) -> None:
    shuffled = [["a", "m", "z"], ["b", "m", "y"], ["a", "n", "z"]]
    order = order_of(written(tmp_path / "in", *map(rows, shuffled)))
    assert (order.kind, order.checked) == ("scattered", "footers")
    assert order.example is not None
    assert order.example.query_id in ("a", "m", "z")
    both = order_of(written(tmp_path / "in", rows(["a", "z", "a", "z", "a", "z"])))
    assert (both.kind, both.checked) == ("scattered", "footers")


def test_ranges_that_do_not_overlap_settle_nothing(tmp_path: Path) -> None:
    order = order_of(written(tmp_path / "in", rows(["a", "b", "a", "c", "d", "e"])))
    assert (order.kind, order.checked) == ("scattered", "all")


def test_without_statistics_ids_are_read(tmp_path: Path) -> None:
    source = written(tmp_path / "in", rows(["a"] * 3), rows(["b"] * 3), write_statistics=False)
    assert order_of(source).checked == "all"


@pytest.mark.parametrize("ids", [["b", "b", "a", "b"], ["a", "a", "b", "c"]])
def test_other_encodings_and_types(tmp_path: Path, ids: list[str]) -> None:
    kind = expected(list(ids))
    encoded = rows(pa.array(ids).dictionary_encode())
    assert order_of(written(tmp_path / "in", encoded)).kind == kind
    names = {name: uuid.UUID(int=ord(name) << 120) for name in "abc"}
    uuids = pa.array([names[i].bytes for i in ids], pa.binary(16)).cast(pa.uuid())
    order = order_of(written(tmp_path / "in", rows(uuids)))
    assert order.kind == kind
    if order.example is not None:
        assert order.example.query_id == str(names["b"])
    binary = pa.array([i.encode() for i in ids], pa.binary())
    assert order_of(written(tmp_path / "in", rows(binary))).kind == kind


def test_widths_of_numbers_meet(tmp_path: Path) -> None:
    small = rows([1, 2, 3], pa.int32())
    unsigned = rows([2**32 - 1, 3, 2**32 - 1], pa.uint32())
    order = order_of(written(tmp_path / "in", small, unsigned, rows([], pa.null())))
    assert order.kind == "scattered"
    assert order.example is not None
    assert (order.example.query_id, order.example.second.row) == (3, 1)


def test_a_sample_of_a_large_input(tmp_path: Path) -> None:
    ids = [f"q{number:05d}" for number in range(3000) for _ in range(3)]
    source = written(tmp_path / "in", rows(ids), row_group_size=100)
    order = order_of(source, whole_bytes=4000)
    assert (order.kind, order.checked, order.queries) == ("sorted", "sample", None)


def test_a_query_through_row_groups_that_no_sample_holds(tmp_path: Path) -> None:
    ids = ["a"] * 2 + ["giant"] * 100 + ["b"] * 2
    source = written(tmp_path / "in", rows(ids), row_group_size=10)
    assert order_of(source, whole_bytes=150).kind == "grouped"


@pytest.mark.slow
def test_more_rows_in_a_row_group_than_are_held(tmp_path: Path) -> None:
    count = 700_000
    ids = pa.array([number // 3 for number in range(count)] + [5])
    order = order_of(written(tmp_path / "in", rows(ids), row_group_size=2**20))
    assert order.kind == "scattered"
    assert order.example is not None
    assert (order.example.first.row, order.example.second.row) == (15, count)


def test_an_empty_input_is_sorted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(rows([]), tmp_path / "in" / "a.parquet")
    source = open_input(InputConfig(path=(str(tmp_path / "in"),), allow_empty=True))
    assert order_of(source).kind == "sorted"


def test_an_id_that_is_none_is_named(tmp_path: Path) -> None:
    broken = rows(pa.array([b"a", b"\xff", b"b"], pa.binary()))
    with pytest.raises(InputContractError, match="row 1: column query_id"):
        order_of(written(tmp_path / "in", broken))
