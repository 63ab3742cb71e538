from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.candidates.casting import Place
from pipeline.candidates.inputs import Input, open_input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.nested_items import items_of, positions
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError

BY_POSITION = {"doc_id": "@position"}


def opened(tmp_path: Path, candidates: Any, *keep: str, name: str = "passages", **settings: Any):
    values = candidates if isinstance(candidates, pa.Array) else pa.array(candidates)
    count = len(values)
    ids = [f"q{number}" for number in range(count)]
    table = pa.table({"query_id": ids, "query": ["x"] * count, name: values})
    pq.write_table(table, tmp_path / "n.parquet")
    config = InputConfig.model_validate({"path": str(tmp_path / "n.parquet")} | settings)
    return open_input(config, pass_through=keep)


def found(source: Input) -> list[list[tuple[Any, Any]]]:
    lists = read_lists(source, 0, source.rows)
    pairs = list(
        zip(lists.documents["doc_id"].to_pylist(), lists.documents["text"].to_pylist(), strict=True)
    )
    return [pairs[a:b] for a, b in zip(lists.offsets, lists.offsets[1:], strict=False)]


TEXTS = [["a", "b"], None, [], ["c", None]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_view(pa.string_view()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())), pa.list_(pa.binary()),
    ],
    ids=str,
)  # fmt: skip
def test_texts_are_named_by_their_places_where_that_is_asked_for(
    tmp_path: Path, kind: pa.DataType
) -> None:
    values = pa.array(TEXTS, pa.list_(pa.string())) if "dict" in str(kind) else None
    if values is None:
        values = pa.array(TEXTS, kind)
    else:
        values = pa.ListArray.from_arrays(
            values.offsets, values.values.dictionary_encode(), mask=values.is_null()
        )
    source = opened(tmp_path, values, columns=BY_POSITION)
    assert source.columns.layout == "nested"
    assert found(source) == [[("0", "a"), ("1", "b")], [], [], [("0", "c"), ("1", None)]]
    assert source.columns.doc_id == pa.string()


def test_texts_without_that_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    message = r"n\.parquet: column 'passages' is a list of strings.*list_transform.*@position"
    for settings in ({}, {"layout": "nested"}, {"columns": {"candidates": "passages"}}):
        with pytest.raises(InputContractError, match=message):
            opened(tmp_path, TEXTS, **settings)


MARCO = [
    {"is_selected": [1, 0], "passage_text": ["red", "coat"], "url": ["u1", "u2"]},
    {"is_selected": [1], "passage_text": ["hat"], "url": None},
    None,
    {"is_selected": [], "passage_text": [], "url": []},
]


def test_a_struct_of_lists_is_read_field_by_field(tmp_path: Path) -> None:
    source = opened(tmp_path, MARCO, "is_selected", columns=BY_POSITION)
    assert found(source) == [[("0", "red"), ("1", "coat")], [("0", "hat")], [], []]
    documents = read_lists(source, 0, 4).documents
    assert documents["is_selected"].to_pylist() == [1, 0, 1]
    source = opened(tmp_path, MARCO, columns={"doc_id": "url"})
    assert found(source)[:2] == [[("u1", "red"), ("u2", "coat")], [(None, "hat")]]
    with pytest.raises(InputContractError, match=r"'passages' is a struct of lists.*doc_id=FIELD"):
        opened(tmp_path, MARCO)


def test_a_struct_of_lists_with_ids_needs_nothing_said(tmp_path: Path) -> None:
    values = [{"docid": [7, 8], "text": ["a", "b"], "title": ["T", None], "kind": "note"}]
    source = opened(tmp_path, values, name="documents")
    assert found(source) == [[(7, "T a"), (8, "b")]]


def test_a_struct_of_lists_beside_the_ids_of_a_long_table_is_no_candidate(tmp_path: Path) -> None:
    hits = [{"doc_id": ["a"], "text": ["x"]}]
    table = pa.table(
        {"query_id": ["q"], "query": ["x"], "doc_id": ["d"], "text": ["t"], "hits": hits}
    )
    pq.write_table(table, tmp_path / "long.parquet")
    source = open_input(InputConfig(path=(str(tmp_path),)))
    assert (source.columns.layout, found(source)) == ("long", [[("d", "t")]])


def test_lists_of_different_lengths_are_named(tmp_path: Path) -> None:
    values = [MARCO[0], {"is_selected": [1], "passage_text": ["hat"], "url": ["u", "v"]}]
    assert len(found(opened(tmp_path, values, columns=BY_POSITION))) == 2  # url is not read
    source = opened(tmp_path, values, columns={"doc_id": "url"})
    with pytest.raises(
        InputContractError, match=r"n\.parquet, row 1: .*'passages' differ in length: 'passage_text"
    ):
        found(source)


def test_structs_without_ids_are_named_by_their_places_too(tmp_path: Path) -> None:
    values = [[{"text": "a"}, {"text": "b"}], [{"text": "c"}]]
    source = opened(tmp_path, values, columns=BY_POSITION)
    assert found(source) == [[("0", "a"), ("1", "b")], [("0", "c")]]


def test_places_are_of_lists_only(tmp_path: Path) -> None:
    table = pa.table({"query_id": ["q"], "query": ["x"], "doc_id": ["d"], "text": ["t"]})
    pq.write_table(table, tmp_path / "long.parquet")
    config = InputConfig(path=(str(tmp_path),), columns=BY_POSITION)
    with pytest.raises(InputContractError, match=r"'doc_id' to '@position'.*no column of lists"):
        open_input(config)


def test_a_unit_in_the_middle_has_the_same_names(tmp_path: Path) -> None:
    source = opened(tmp_path, [["a", "b"], ["c"], ["d", "e"]], columns=BY_POSITION)
    lists: CandidateLists = read_lists(source, 2, 3)
    assert lists.documents["doc_id"].to_pylist() == ["0", "1"]


ROW = st.one_of(st.none(), st.integers(0, 4))


@given(st.lists(st.tuples(ROW, st.sampled_from(["both", "a", "b"])), max_size=12))
def test_both_shapes_of_the_same_rows_give_the_same_items(rows: list[tuple[int | None, str]]):
    structs, columns = [], []
    for number, (count, shape) in enumerate(rows):
        if count is None:
            structs.append([])
            columns.append(None)
            continue
        of_a = [f"{number}.{i}" for i in range(count)] if shape != "b" else None
        of_b = list(range(count)) if shape != "a" else None
        structs.append(
            [{"a": of_a and of_a[i], "b": None if of_b is None else of_b[i]} for i in range(count)]
        )
        columns.append({"a": of_a, "b": of_b})
    fields = [("a", pa.string()), ("b", pa.int64())]
    turned = pa.array(columns, pa.struct([(n, pa.list_(t)) for n, t in fields]))
    plain = pa.array(structs, pa.list_(pa.struct(fields)))
    place = Place(path="p", rows=np.arange(len(rows)))
    for shape in (turned, turned.slice(1), plain, plain.slice(1)):
        items, counts = items_of(shape, "c", ["a", "b"], place)
        wanted = structs[len(structs) - len(shape) :]
        assert counts.tolist() == [len(inner) for inner in wanted]
        assert items.to_pylist() == [one for inner in wanted for one in inner]
        assert positions(counts).to_pylist() == [str(i) for c in wanted for i in range(len(c))]
