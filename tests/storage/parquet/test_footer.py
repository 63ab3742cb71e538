from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.storage.parquet.footer import FooterError, ParquetFooter, parse_footer


def parts(data: bytes) -> tuple[bytes, int]:
    size = int.from_bytes(data[-8:-4], "little")
    return data[-8 - size : -8], len(data)


def parsed(table: pa.Table, **options: object) -> tuple[ParquetFooter, pq.FileMetaData]:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return parse_footer(*parts(sink.getvalue())), pq.read_metadata(sink)


TABLE = pa.table(
    {
        "a": ["x", None, "y", "z"],
        "b": [[1, 2], [], None, [3]],
        "c": [{"d": 1.5, "e": [{"f": "g"}]}, None, {"d": None, "e": []}, {"d": 2.0, "e": None}],
        "m": pa.array([[("k", 1)], [], None, [("l", 2)]], pa.map_(pa.string(), pa.int64())),
        "u": pa.array([b"0123456789abcdef"] * 4, pa.uuid()),
        "s": pa.array([b"abc"] * 4, pa.binary(3)),
    }
)


@pytest.mark.parametrize("rows", [1, 3, 4])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_it_says_what_arrow_says(rows: int, compression: str) -> None:
    ours, theirs = parsed(TABLE, row_group_size=rows, compression=compression)
    assert ours.rows.tolist() == [
        theirs.row_group(i).num_rows for i in range(theirs.num_row_groups)
    ]
    for group in range(theirs.num_row_groups):
        for place, leaf in enumerate(ours.leaves):
            chunk, column = theirs.row_group(group).column(place), theirs.schema.column(place)
            assert leaf.dotted == chunk.path_in_schema
            assert leaf.max_definition == column.max_definition_level
            assert leaf.max_repetition == column.max_repetition_level
            assert ours.values[group, place] == chunk.num_values
            assert ours.stored[group, place] == chunk.total_compressed_size
            assert ours.unpacked[group, place] == chunk.total_uncompressed_size
            first = chunk.dictionary_page_offset or chunk.data_page_offset
            assert ours.starts[group, place] == first
    assert [leaf.path[0] for leaf in ours.leaves if leaf.logical == "uuid"] == ["u"]
    assert {leaf.length for leaf in ours.leaves if leaf.path == ("s",)} == {3}


def test_without_fixed_sizes_the_footer_that_arrow_gets_differs_in_extension_names_only() -> None:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    data, size = parts(sink.getvalue())
    plain = parse_footer(data, size).plain
    assert len(plain) == len(data) and plain != data
    sink = io.BytesIO()
    pq.write_table(TABLE.drop_columns(["u"]), sink)
    data, size = parts(sink.getvalue())
    assert parse_footer(data, size).plain == data


@given(data=st.data())
def test_a_damaged_footer_is_refused_or_read(data: st.DataObject) -> None:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    footer, size = parts(sink.getvalue())
    place = data.draw(st.integers(0, len(footer) - 1))
    change = data.draw(st.binary(max_size=12))
    kept = data.draw(st.integers(place, len(footer)))
    try:
        parse_footer(footer[:place] + change + footer[kept:], size)
    except FooterError as error:
        assert str(error)


def test_a_list_longer_than_the_footer_is_no_reason_to_allocate() -> None:
    with pytest.raises(FooterError, match="a list of 268435455 items in 0 bytes"):
        parse_footer(bytes([0x49, 0xFC, 0xFF, 0xFF, 0xFF, 0x7F]), 100)
