"""Footers that lie, unfold or never end: refused in a sentence, with little memory."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.inputs import open_input
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_rows
from pipeline.storage.parquet.arrow_schema import MOST_SCHEMA_BYTES, safe_schema
from pipeline.storage.parquet.schema_size import unfolded_size
from pipeline.storage.store import identify
from tests.support.thrift_edit import (
    BINARY,
    FALSE,
    I32,
    LIST,
    STRUCT,
    Items,
    Tree,
    list_head,
    parsed,
    signed,
    written,
)

TABLE = pa.table(
    {"query_id": ["q"] * 4, "query": ["x"] * 4, "doc_id": list("abcd"), "text": ["t"] * 4}
)
# Ids of parquet.thrift: FileMetaData, RowGroup, SchemaElement, ColumnChunk, ColumnMetaData.
SCHEMA, GROUPS, CHUNKS, ROWS, ABOUT = 2, 4, 1, 3, 3
KIND, LENGTH, NAME, CHILDREN = 1, 2, 4, 5
PATH, CODEC, VALUES, STORED, DATA, DICTIONARY = 3, 4, 5, 7, 9, 11


def split(**options: Any) -> tuple[bytes, Tree]:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink, **options)
    data = sink.getvalue()
    size = int.from_bytes(data[-8:-4], "little")
    return data[: -8 - size], parsed(data[-8 - size : -8])[0]


def save(path: Path, body: bytes, footer: bytes) -> Path:
    path.write_bytes(body + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def read(path: Path) -> None:
    source = open_input(InputConfig(path=(str(path),)))
    read_lists(source, 0, source.rows)


def test_a_tree_that_is_not_changed_is_the_same_footer(tmp_path: Path) -> None:
    body, tree = split()
    read(save(tmp_path / "whole.parquet", body, written(tree)))


def of_chunks(identifier: int, value: Any) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        for chunk in tree[GROUPS].items[0][CHUNKS].items:
            chunk[ABOUT].set(identifier, chunk[ABOUT].fields.get(identifier, (6, 0))[0], value)

    return change


def of_column(identifier: int, value: Any, kind: int = I32) -> Callable[[Tree], None]:
    return lambda tree: tree[SCHEMA].items[4].set(identifier, kind, value)


def rows(count: int) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        tree[GROUPS].items[0].change(ROWS, count)
        of_chunks(VALUES, count)(tree)

    return change


def repeated(times: int, count: int | None = None) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        if count is not None:
            rows(count)(tree)
        tree[GROUPS].items = tree[GROUPS].items * times

    return change


def nested(depth: int) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        groups = [Tree({3: (I32, 1), NAME: (BINARY, b"d"), CHILDREN: (I32, 1)})] * depth
        leaf = Tree({KIND: (I32, 6), 3: (I32, 1), NAME: (BINARY, b"x")})
        root = Tree({NAME: (BINARY, b"root"), CHILDREN: (I32, 1)})
        tree.change(SCHEMA, Items(STRUCT, [root, *groups, leaf]))

    return change


LIES: dict[str, tuple[Callable[[Tree], None], str]] = {
    "negative rows": (lambda tree: tree[GROUPS].items[0].change(ROWS, -1), "negative sizes"),
    "endless rows": (rows(2**62), "more rows than can be"),
    "rows that run over": (repeated(3, 2**62), "more rows than can be"),
    "many rows": (rows(2**40), "row group 0: .*max_expansion"),
    "more values than there are": (of_chunks(VALUES, 400), "row group 0, column 'query_id'"),
    "row groups that overlap": (repeated(1000), "row groups of it overlap"),
    "columns that overlap": (
        lambda tree: (of_chunks(DATA, 4)(tree), of_chunks(DICTIONARY, 0)(tree))[0],
        "overlap",
    ),
    "outside the file": (of_chunks(STORED, 10**9), "a column lies outside the file"),
    "too short": (of_chunks(STORED, 5), "row group 0, column 'query_id'"),
    "without bytes": (of_chunks(STORED, 0), "row group 0"),
    "an unknown codec": (of_chunks(CODEC, 77), "row group 0"),
    "another codec": (of_chunks(CODEC, 6), "row group 0, column 'query_id'.*ZSTD"),
    "a dictionary elsewhere": (of_chunks(DICTIONARY, 1), "overlap"),
    "an unknown type": (of_column(KIND, 99), "column 'text' is of physical type 99"),
    "a type of the wrong kind": (of_column(KIND, b"x", BINARY), "field 1 is no whole number"),
    "a length below nothing": (
        lambda tree: (of_column(KIND, 7)(tree), of_column(LENGTH, -5)(tree))[0],
        "length: -5",
    ),
    "children below nothing": (lambda t: t[SCHEMA].items[0].change(CHILDREN, -4), "lacks columns"),
    "too many children": (lambda t: t[SCHEMA].items[0].change(CHILDREN, 2**31 - 1), "lacks"),
    "a name that is no UTF-8": (of_column(NAME, b"te\xff", BINARY), "UnicodeDecodeError"),
    "no schema": (lambda tree: tree.fields.pop(SCHEMA), "a row group has 4 columns, the schema 0"),
    "no columns": (lambda t: t[GROUPS].items[0][CHUNKS].items[2].fields.pop(ABOUT), "damaged"),
    "deep columns": (nested(20_000), "column 'd' is nested more than 100 levels deep"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
def test_a_footer_that_lies_is_refused(tmp_path: Path, kind: str) -> None:
    change, message = LIES[kind]
    body, tree = split(use_dictionary=kind != "columns that overlap")
    change(tree := copy.deepcopy(tree))
    path = save(tmp_path / "lies.parquet", body, written(tree))
    with pytest.raises(InputContractError, match=rf"lies\.parquet.*{message}"):
        read(path)


def test_what_is_known_without_the_footer_is_not_asked_of_it(tmp_path: Path) -> None:
    """Some writers leave the number of rows at nought; row groups say how many there are."""
    body, tree = split()
    tree.change(ROWS, 0)
    read(save(tmp_path / "nought.parquet", body, written(tree)))


def with_list(tree: Tree, identifier: int, raw: bytes) -> bytes:
    """A footer with one more list at its beginning, as the protocol allows."""
    tree = copy.deepcopy(tree)
    tree.fields.pop(identifier, None)
    rest = {number: field for number, field in tree.fields.items() if number > identifier}
    before = {number: field for number, field in tree.fields.items() if number < identifier}
    head = written(Tree(before))[:-1] + bytes([LIST]) + signed(identifier) + raw
    (first, (kind, _)), *_ = rest.items() or [(identifier + 1, (FALSE, FALSE))]
    tail = written(Tree(rest or {first: (kind, FALSE)}))
    # The first field after the list says its distance from the list, not from the beginning.
    own = 1 if tail[0] > 0x0F else 1 + len(signed(first))
    return head + bytes([kind]) + signed(first) + tail[own:]


MANY = {
    "entries of metadata": (5, list_head(STRUCT, 5_000_000) + b"\0" * 5_000_000, "items in all"),
    "of nobody": (40, list_head(STRUCT, 5_000_000) + b"\0" * 5_000_000, "items in all"),
    "lists": (40, list_head(LIST, 5_000_000) + b"\x03" * 5_000_000, "items in all"),
    "columns": (2, list_head(STRUCT, 300_000) + b"\0" * 300_000, "200,000 items in all"),
}


@pytest.mark.parametrize("kind", MANY)
def test_long_lists_of_nothing_take_no_memory(tmp_path: Path, kind: str) -> None:
    identifier, raw, message = MANY[kind]
    body, tree = split()
    path = save(tmp_path / "many.parquet", body, with_list(tree, identifier, raw))
    del raw
    tracemalloc.start()
    with pytest.raises(InputContractError, match=rf"many\.parquet.*{message}"):
        read_footer(identify(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * path.stat().st_size + 2**22


def test_more_column_chunks_than_arrow_should_hold_are_refused(tmp_path: Path) -> None:
    body, tree = split()
    group = copy.deepcopy(tree[GROUPS].items[0])
    group.change(ROWS, 0)
    for chunk in group[CHUNKS].items:
        about = chunk[ABOUT]
        about.fields = {name: about.fields[name] for name in (1, 2, 3, 4, 5, 6, 7, 9)}
        about.change(VALUES, 0)
    raw = list_head(STRUCT, 80_000) + written(group) * 80_000
    path = save(tmp_path / "many.parquet", body, with_list(tree, GROUPS, raw))
    with pytest.raises(InputContractError, match=r"more than 300,000 column chunks.*larger row"):
        read_footer(identify(str(path)))


def test_wide_files_are_read(tmp_path: Path) -> None:
    wide = {f"c{i}": pa.array([1] * 4, pa.int8()) for i in range(10_000)}
    path = tmp_path / "wide.parquet"
    names = [*TABLE.column_names, *wide]
    table = pa.table([*TABLE.columns, *wide.values()], names)
    pq.write_table(table, path, use_dictionary=False, write_statistics=False)
    read(path)


def shared_fields(outer: int, inner: int) -> bytes:
    """A schema of ``outer`` times ``inner`` fields in which all fields of a level are one table."""
    last = pa.struct([pa.field("x", pa.int8())] * inner)
    fields = [*[pa.field("y", pa.int8())] * (outer - 1), pa.field("z", last)]
    data = bytearray(pa.schema([pa.field("text", pa.struct(fields))]).serialize().to_pybytes())
    for count in (outer, inner):
        place = data.index(struct.pack("<I", count))
        while place % 4 or not _is_vector(data, place, count):
            place = data.index(struct.pack("<I", count), place + 1)
        offsets = struct.unpack_from(f"<{count}I", data, place + 4)
        target = place + 4 * count + offsets[-1]
        each = (target - place - 4 - 4 * item for item in range(count))
        struct.pack_into(f"<{count}I", data, place + 4, *each)
    return bytes(data)


def _is_vector(data: bytes, place: int, count: int) -> bool:
    if place + 4 + 4 * count > len(data):
        return False
    offsets = struct.unpack_from(f"<{count}I", data, place + 4)
    targets = {place + 4 + 4 * item + offset for item, offset in enumerate(offsets)}
    return len(targets) == count and max(targets) < len(data)


@pytest.mark.slow
def test_a_schema_whose_fields_are_all_one_field_is_not_followed() -> None:
    some = shared_fields(300, 301)
    assert pa.ipc.read_schema(pa.py_buffer(some)).field(0).type.num_fields == 300
    assert unfolded_size(some, 10**12) > 300 * 301 * 1000
    many = shared_fields(1000, 1001)
    assert len(many) < 100_000
    assert unfolded_size(many, MOST_SCHEMA_BYTES) > MOST_SCHEMA_BYTES
    assert safe_schema(base64.b64encode(many)) is None


def test_the_size_of_a_schema_counts_fields_texts_and_metadata() -> None:
    plain = pa.schema([pa.field("a", pa.int8()), pa.field("b", pa.list_(pa.string()))])
    small = unfolded_size(plain.serialize().to_pybytes(), 10**9)
    assert 3_000 < small < 4_000
    described = plain.with_metadata({"k": "v" * 5_000})
    assert unfolded_size(described.serialize().to_pybytes(), 10**9) > small + 5_000
    zoned = plain.append(pa.field("t", pa.timestamp("us", "Z" * 3_000)))
    assert unfolded_size(zoned.serialize().to_pybytes(), 10**9) > small + 3_000
    for junk in (b"", b"\xff" * 40, bytes(40), plain.serialize().to_pybytes()[:60]):
        with contextlib.suppress(ValueError):
            assert unfolded_size(junk, 10**9) >= 0


CLAIMS: dict[str, dict[str, pa.DataType]] = {
    "numbers": {"text": pa.int64(), "doc_id": pa.int64()},
    "nulls": {"text": pa.null()},
    "times": {"text": pa.timestamp("ns", "Mars/Base")},
    "a dictionary": {"text": pa.dictionary(pa.int8(), pa.int64()), "doc_id": pa.large_string()},
    "long bytes": {"text": pa.binary(2**30)},
    "long lists": {"text": pa.list_(pa.string(), 2**31 - 1)},
    "structs": {"text": pa.struct([("a", pa.string())]), "query_id": pa.map_("string", "string")},
    "a union": {"text": pa.dense_union([pa.field("a", pa.string())])},
    "runs": {"text": pa.run_end_encoded(pa.int32(), pa.string())},
}


@pytest.mark.parametrize("kind", CLAIMS)
@pytest.mark.parametrize("times", [1, 2])
def test_an_arrow_schema_that_lies_about_types_changes_no_value(
    tmp_path: Path, kind: str, times: int
) -> None:
    claim = pa.schema([field.with_type(CLAIMS[kind].get(field.name, field.type))
                       for field in TABLE.schema])  # fmt: skip
    path = tmp_path / "claims.parquet"
    data = base64.b64encode(claim.serialize().to_pybytes())
    with pq.ParquetWriter(path, TABLE.schema, store_schema=False) as writer:
        writer.write_table(TABLE)
        writer.add_key_value_metadata({"ARROW:schema": data, "pandas": b'{"columns": [{"name": 5'})
    if times == 2:
        body, tree = path.read_bytes(), Tree()
        size = int.from_bytes(body[-8:-4], "little")
        tree = parsed(body[-8 - size : -8])[0]
        tree[5].items *= 2
        save(path, body[: -8 - size], written(tree))
    source = open_input(InputConfig(path=(str(path),)))
    documents = read_lists(source, 0, 4).documents
    assert documents.column("doc_id").to_pylist() == list("abcd")
    assert documents.column("text").to_pylist() == ["t"] * 4
    assert documents.column("reason").null_count == 4


def test_damaged_data_is_named_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    pq.write_table(TABLE, path, write_page_checksum=True, row_group_size=2)
    chunk = pq.read_metadata(path).row_group(1).column(2)
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 1
    data[chunk.dictionary_page_offset + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputContractError, match=r"row group 1, column 'doc_id': not readable"):
        list(read_rows(str(path), 0, 4, columns=TABLE.column_names))
    kept = read_rows(str(path), 0, 4, columns=["query", "text"])
    assert sum(batch.num_rows for batch in kept) == 4
