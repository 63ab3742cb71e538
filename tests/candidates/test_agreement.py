from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.outputs.ranked_unit import rank_unit
from pipeline.storage.parquet import table_of, to_bytes
from pipeline.storage.store import list_files
from tests.makers import long_table, nested_table


def rows(ids: Any = ("a", "b"), **columns: Any) -> pa.Table:
    count = len(ids)
    fixed = {"query_id": ids, "query": ["x"] * count, "doc_id": ids, "text": ["t"] * count}
    return pa.table(fixed | columns)


def opened(tmp_path: Path, *tables: pa.Table, keep: tuple[str, ...] = ()) -> Input:
    for number, table in enumerate(tables):
        pq.write_table(table, tmp_path / f"{number}.parquet")
    return open_input(InputConfig(path=(str(tmp_path),)), pass_through=keep)


def lists_of(source: Input) -> CandidateLists:
    return read_lists(source, 0, source.rows)


EMPTY = {
    "null types": rows(pa.nulls(0)).cast(pa.schema([(n, pa.null()) for n in rows().column_names])),
    "floats": pa.table({name: pa.array([], pa.float64()) for name in rows().column_names}),
    "integers": pa.table({name: pa.array([], pa.int64()) for name in rows().column_names}),
    "no columns": pa.table({}),
    "an index": pa.table({"__index_level_0__": pa.array([], pa.int64())}),
}


@pytest.mark.parametrize("kind", EMPTY)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_without_rows_agrees_with_any(tmp_path: Path, kind: str, place: int) -> None:
    tables = [rows(["a", "b"]), rows(["c"])]
    tables.insert(place, EMPTY[kind])
    source = opened(tmp_path, *tables)
    assert (len(source.files), source.rows) == (3, 3)
    assert lists_of(source).queries["query_id"].to_pylist() == ["a", "b", "c"]


def test_a_column_of_nulls_agrees_with_any_type(tmp_path: Path) -> None:
    source = opened(
        tmp_path,
        rows(pa.array([None, None], pa.null()), first_stage_score=pa.nulls(2)),
        rows(pa.array([7, 8])),
        keep=(),
    )
    lists = lists_of(source)
    assert lists.queries["query_id"].to_pylist() == [None, 7, 8]
    assert source.columns.query_id == pa.int64()


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ((pa.uint64(), pa.uint32()), pa.uint64()),
        ((pa.int32(), pa.int8()), pa.int64()),
        ((pa.int32(), pa.uint64()), pa.int64()),
        ((pa.uint64(),), pa.uint64()),
    ],
)
def test_integers_of_several_widths_keep_their_values(
    tmp_path: Path, types: tuple[pa.DataType, ...], common: pa.DataType
) -> None:
    largest = 2**64 - 1 if common == pa.uint64() else 100
    ids = [pa.array([largest - 1 - i if i == 0 else i], kind) for i, kind in enumerate(types)]
    source = opened(tmp_path, *(rows(one) for one in ids))
    assert source.columns.doc_id == common
    found = lists_of(source).documents["doc_id"].to_pylist()
    assert found == [one[0].as_py() for one in ids]


def test_an_integer_that_no_common_type_holds_is_named(tmp_path: Path) -> None:
    ids = pa.array([1, 2**64 - 1], pa.uint64())
    source = opened(tmp_path, rows(pa.array([0], pa.int32())), rows(ids))
    with pytest.raises(
        InputContractError, match=r"1\.parquet, row 1: column '.*' holds 18446744073709551615"
    ):
        lists_of(source)


@pytest.mark.parametrize("store_schema", [True, False])
def test_uuids_are_written_as_people_write_them(tmp_path: Path, store_schema: bool) -> None:
    made = [uuid.UUID(int=i * 2**100 + i) for i in (1, 2)]
    ids = pa.array([one.bytes for one in made], pa.uuid())
    table = rows(ids, note=ids)
    pq.write_table(table, tmp_path / "long.parquet", store_schema=store_schema)
    source = open_input(InputConfig(path=(str(tmp_path),)), pass_through=("note",))
    lists = lists_of(source)
    texts = [str(one) for one in made]
    assert lists.queries["query_id"].to_pylist() == texts
    assert lists.documents["doc_id"].to_pylist() == lists.documents["note"].to_pylist() == texts


def test_uuids_inside_lists_are_found(tmp_path: Path) -> None:
    made = uuid.uuid4()
    inner = pa.StructArray.from_arrays(
        [pa.array([made.bytes], pa.uuid()), pa.array(["t"])], names=["doc_id", "text"]
    )
    table = pa.table({"query_id": ["q"], "query": ["x"]})
    table = table.append_column("candidates", pa.ListArray.from_arrays([0, 1], inner))
    assert lists_of(opened(tmp_path, table)).documents["doc_id"].to_pylist() == [str(made)]


ITEM = pa.struct([("doc_id", pa.string()), ("text", pa.string())])


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(ITEM), pa.large_list(ITEM), pa.list_view(ITEM), pa.large_list_view(ITEM),
        pa.list_(ITEM, 2),
    ],
    ids=str,
)  # fmt: skip
def test_candidates_in_every_kind_of_list(tmp_path: Path, kind: pa.DataType) -> None:
    one, two = ({"doc_id": str(i), "text": "t"} for i in (1, 2))
    values = [[one, two], None, [two, one]]
    table = pa.table({"query_id": ["a", "b", "c"], "query": ["x"] * 3})
    table = table.append_column("candidates", pa.array(values, kind))
    lists = lists_of(opened(tmp_path, table))
    assert lists.offsets.tolist() == [0, 2, 2, 4]
    assert lists.documents["doc_id"].to_pylist() == ["1", "2", "2", "1"]
    again = CandidateLists.from_ipc(lists.to_ipc())
    assert again.documents.equals(lists.documents) and again.offsets.tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), ["1.5", None]), (pa.decimal128(5, 2), ["1.50", None]),
        (pa.float16(), [1.5, None]), (pa.int8(), [1, None]),
        (pa.dictionary(pa.int8(), pa.float32()), [1.5, None]),
    ],
    ids=str,
)  # fmt: skip
def test_scores_of_every_kind_of_number(tmp_path: Path, kind: pa.DataType, values: Any) -> None:
    given = pa.array(values).cast(kind) if not pa.types.is_dictionary(kind) else (
        pa.array(values, pa.float32()).dictionary_encode()
    )  # fmt: skip
    found = lists_of(opened(tmp_path, rows(first_stage_score=given))).documents
    assert found["first_stage_score"].to_pylist() == [float(values[0]), None]


def test_copied_columns_have_one_type_over_all_files(tmp_path: Path) -> None:
    source = opened(
        tmp_path,
        rows(["a"], n=pa.array([1], pa.int8()), s=["x"]),
        rows(["b"], n=pa.array([2**40]), s=pa.array(["y"], pa.large_string())),
        rows(["c"], n=pa.nulls(1), s=["z"]),
        keep=("n", "s"),
    )
    for start, expected in ((0, [1]), (1, [2**40]), (2, [None])):
        column = read_lists(source, start, start + 1).documents["n"]
        assert (column.type, column.to_pylist()) == (pa.int64(), expected)


@pytest.mark.parametrize("columns", [{"n": (["x"], [1])}, {"image": (["x"], [{"bytes": b"x"}])}])
def test_copied_columns_of_two_kinds_are_refused(tmp_path: Path, columns: Any) -> None:
    [(name, (first, second))] = columns.items()
    with pytest.raises(InputContractError, match=rf"1\.parquet: '{name}' holds .*0\.parquet"):
        opened(
            tmp_path, rows(["a"], **{name: first}), rows(["b"], **{name: second}),
            keep=("n",) if name == "n" else (),
        )  # fmt: skip


def test_a_column_in_one_file_only(tmp_path: Path) -> None:
    source = opened(tmp_path, rows(["a"], score=[1.5], title=["T"]), rows(["b"]))
    documents = lists_of(source).documents
    assert documents["first_stage_score"].to_pylist() == [1.5, None]
    assert documents["text"].to_pylist() == ["T t", "t"]
    with pytest.raises(InputContractError, match=r"1\.parquet: output.columns names 'title'"):
        opened(tmp_path, rows(["a"], title=["T"]), rows(["b"]), keep=("title",))


def test_a_query_column_may_be_copied_in_both_layouts(tmp_path: Path) -> None:
    table = long_table(queries=3)
    for name, one in (("long", table), ("nested", nested_table(table))):
        (tmp_path / name).mkdir()
        documents = lists_of(opened(tmp_path / name, one, keep=("query",))).documents
        assert documents["query"].to_pylist() == table["query"].to_pylist()


def test_a_folder_with_brackets_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "p [v2] *?"
    folder.mkdir()
    pq.write_table(rows(), folder / "a.parquet")
    assert [Path(file.path).name for file in list_files(str(folder))] == ["a.parquet"]
    assert open_input(InputConfig(path=(str(folder),))).rows == 2


def test_a_file_that_links_lead_to_twice_is_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in" / "day-1").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(rows(["a"]), tmp_path / "in" / "day-1" / "a.parquet")
    pq.write_table(rows(["b"]), tmp_path / "elsewhere" / "b.parquet")
    (tmp_path / "in" / "a-latest").symlink_to("day-1")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "elsewhere")
    source = open_input(InputConfig(path=(str(tmp_path / "in"),)))
    assert [file.identity.path.removeprefix(str(tmp_path)) for file in source.files] == [
        "/in/day-1/a.parquet", "/in/more/b.parquet",
    ]  # fmt: skip
    assert "files of the input that are links to others, and are read once: 1" in caplog.text


@pytest.mark.slow
def test_a_row_count_that_no_file_could_hold_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    table = pa.table({name: pa.nulls(20_000_000, pa.string()) for name in rows().column_names})
    pq.write_table(table, tmp_path / "nulls.parquet", row_group_size=20_000_000)
    with pytest.raises(InputContractError, match=r"nulls\.parquet, row group 0: .*max_expansion"):
        open_input(InputConfig(path=(str(tmp_path),)))


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    [
        (pa.decimal32(9, 0), [7, -3], pa.int64()),
        (pa.decimal64(18, 0), [2**53 + 1, -3], pa.int64()),
        (pa.decimal128(18, 0), [10**18 - 1, 0], pa.int64()),
        (pa.decimal128(20, 0), [2**64 - 1, -1], pa.string()),
        (pa.decimal128(38, 0), [7, 10**38 - 1], pa.string()),
        (pa.decimal256(76, 0), [7, -(10**76) + 1], pa.string()),
    ],
    ids=str,
)
@pytest.mark.parametrize("encoded", [False, True])
def test_decimals_without_a_fraction_are_exact_ids(
    tmp_path: Path, kind: pa.DataType, numbers: list[int], expected: pa.DataType, encoded: bool
) -> None:
    ids = pa.array([Decimal(number) for number in numbers], kind)
    given = pa.DictionaryArray.from_arrays([0, 1], ids) if encoded else ids
    lists = lists_of(opened(tmp_path, rows(given)))
    assert lists.documents.schema.field("doc_id").type == expected
    found = lists.documents["doc_id"].to_pylist()
    assert found == (numbers if expected == pa.int64() else [str(number) for number in numbers])


def test_wide_decimals_beside_integers_are_integers(tmp_path: Path) -> None:
    wide = pa.array([Decimal(2**53 + 1), Decimal(2**63)], pa.decimal128(38, 0))
    source = opened(tmp_path, rows(pa.array([1], pa.uint64())), rows(wide))
    assert lists_of(source).documents["doc_id"].to_pylist() == [1, 2**53 + 1, 2**63]
    source = opened(tmp_path, rows(pa.array([1], pa.int32())), rows(wide))
    with pytest.raises(InputContractError, match=r"1\.parquet, row 1: .*9223372036854775808"):
        lists_of(source)


def test_decimals_with_a_fraction_are_no_ids(tmp_path: Path) -> None:
    ids = pa.array([Decimal("7.00")], pa.decimal128(5, 2))
    with pytest.raises(InputContractError, match=r"'query_id' holds decimal128\(5, 2\); .*BIGINT"):
        opened(tmp_path, rows(ids))


def _coded(values: pa.Array) -> pa.Array:
    places = pa.array([None if value is None else i for i, value in enumerate(values.to_pylist())])
    return pa.DictionaryArray.from_arrays(places.cast(pa.int8()), values.fill_null(values[0]))


def test_a_dictionary_of_anything_is_read_as_its_values(tmp_path: Path) -> None:
    ids = pa.array([7, 8], pa.uint16())
    table = pa.table(
        {
            "query_id": _coded(ids), "query": _coded(pa.array(["x", "y"], pa.large_string())),
            "doc_id": _coded(pa.array([b"a", b"b"], pa.large_binary())),
            "text": _coded(pa.array(["t", None])), "rank": _coded(pa.array([2, 1], pa.int16())),
            "score": _coded(pa.array([Decimal("1.5"), None], pa.decimal128(5, 2))),
            "day": _coded(pa.array([1, 2], pa.date32())),
        }
    )  # fmt: skip
    lists = lists_of(opened(tmp_path, table, keep=("day",)))
    assert lists.queries["query_id"].to_pylist() == [7, 8]
    documents = lists.documents.to_pydict()
    assert documents["doc_id"] == ["a", "b"] and documents["text"] == ["t", None]
    assert documents["first_stage_rank"] == [2, 1]
    assert documents["first_stage_score"] == [1.5, None]
    assert [day.toordinal() - EPOCH for day in documents["day"]] == [1, 2]


EPOCH = datetime.date(1970, 1, 1).toordinal()

CARRIED = {
    "timestamp": pa.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)] * 2),
    "nanoseconds": pa.array([1, None], pa.timestamp("ns")),
    "date": pa.array([1, None], pa.date32()),
    "duration": pa.array([1, None], pa.duration("us")),
    "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
    "list": pa.array([["a", None], None]),
    "struct": pa.array([{"a": 1, "b": [{"c": "x"}]}, None]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    "view": pa.array(["a", None], pa.string_view()),
    "list view": pa.array([["a"], None], pa.list_view(pa.string())),
    "fixed list": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    "bool": pa.array([True, None]),
    "nothing": pa.nulls(2),
}


@pytest.mark.parametrize("kind", CARRIED)
@pytest.mark.parametrize("nested", [False, True])
def test_any_value_is_carried_to_the_output(tmp_path: Path, kind: str, nested: bool) -> None:
    values = CARRIED[kind]
    table = rows(kept=values)
    if nested and kind != "view":  # which Arrow cannot write inside a list
        items = pa.StructArray.from_arrays(
            [table[name].combine_chunks() for name in ("doc_id", "text", "kept")],
            ["doc_id", "text", "kept"],
        )
        lists = pa.ListArray.from_arrays([0, 1, 2], items)
        table = table.select(["query_id", "query"]).append_column("candidates", lists)
    lists = CandidateLists.from_ipc(lists_of(opened(tmp_path, table, keep=("kept",))).to_ipc())
    ranked = rank_unit("u", lists, np.zeros(2, dtype=np.float32), columns=("kept",)).ranked
    back = table_of(to_bytes(ranked), "back")
    assert sorted(map(str, back["kept"].to_pylist())) == sorted(map(str, values.to_pylist()))


def test_columns_that_pandas_adds_are_left_alone(tmp_path: Path) -> None:
    """An index column in one shard, columns of nothing but nulls in another."""
    with_index = rows(["a"], title=["T"], __index_level_0__=[7])
    empty = rows(["b"], title=pa.nulls(1), first_stage_rank=pa.nulls(1, pa.float64()))
    source = opened(tmp_path, with_index, empty, rows(["c"]), keep=())
    assert lists_of(source).documents["text"].to_pylist() == ["T t", "t", "t"]


def test_json_is_text(tmp_path: Path) -> None:
    said = pa.array(['{"a": 1}', None], pa.json_())
    documents = lists_of(opened(tmp_path, rows(text=said, kept=said), keep=("kept",))).documents
    assert documents["text"].to_pylist() == documents["kept"].to_pylist() == ['{"a": 1}', None]
