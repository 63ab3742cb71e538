"""Arrow's schema, as it stands in the footer that Arrow gets."""

from __future__ import annotations

import base64
import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.parquet.footer import parse_footer


def plain_of(data: bytes) -> tuple[bytes, bytes]:
    """The footer of a file as it is stored, and as Arrow gets it."""
    size = int.from_bytes(data[-8:-4], "little")
    stored = data[-8 - size : -8]
    return stored, parse_footer(stored, len(data)).plain


def written(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


VECTOR = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    "kind",
    [
        VECTOR,
        pa.large_list(pa.struct([("v", VECTOR)])),
        pa.map_(pa.string(), VECTOR),
        pa.list_(pa.list_(pa.int8(), 3), 2),
        pa.struct([("a", VECTOR), ("b", pa.dictionary(pa.int32(), pa.string()))]),
        pa.struct([("a", pa.string_view()), ("b", pa.list_(pa.binary_view()))]),
        pa.large_list_view(pa.list_view(pa.int8())),
    ],
)
def test_views_and_lists_of_a_fixed_size_are_plain_at_any_depth(kind: pa.DataType) -> None:
    table = pa.table([pa.array([], kind)], pa.schema([pa.field("x", kind)], metadata={"k": "v"}))
    stored, plain = plain_of(written(table))
    assert len(plain) == len(stored)
    length = len(plain).to_bytes(4, "little")
    schema = pq.read_schema(io.BytesIO(b"PAR1" + plain + length + b"PAR1"))
    assert not re.search("fixed_size_list|view", str(schema))
    assert schema.metadata == {b"k": b"v"}


def test_a_schema_that_is_none_is_left_out() -> None:
    table = pa.table({"a": ["x"]})
    for claim in (b"", b"!", base64.b64encode(b"\xff" * 40)):
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"ARROW:schema": claim})
        assert b"ARROW:schema" not in plain_of(sink.getvalue())[1]
