"""Files that are made to harm their reader: pickles in extension types, decompression bombs."""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: What Ray Data registers for columns of Python objects, which it unpickles value by value.
PICKLED = "ray.data.arrow_pickled_object"

_KEY, _STAND_IN = b"ARROW:extension:name", b"ARROW-extension-name"


class _Touch:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def payload(marker: Path) -> bytes:
    """A pickle that creates ``marker`` when it is loaded."""
    return pickle.dumps(_Touch(marker))


def declared(name: str, kind: pa.DataType, extension: str = PICKLED) -> pa.Field:
    """A field that :func:`write_declared` writes as an extension type, whatever is registered."""
    return pa.field(name, kind, metadata={_STAND_IN: extension.encode(), b"other": b"x"})


def write_declared(path: Path, table: pa.Table) -> Path:
    """Write a table; fields of :func:`declared` become extension types in the footer."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    data = sink.getvalue()
    schema = table.schema.serialize().to_pybytes()
    key = b"ARROW:schema"
    found = pq.read_metadata(io.BytesIO(data)).metadata[key]
    assert _STAND_IN in base64.b64decode(found), len(schema)
    renamed = base64.b64encode(base64.b64decode(found).replace(_STAND_IN, _KEY))
    path.write_bytes(data.replace(found, renamed))
    return path


def dictionary_bomb(path: Path, *, rows: int = 3000, value: int = 2**20) -> Path:
    """A few kilobytes whose text column is one long value, referred to by every row."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * value]))
    pq.write_table(_long(rows, text), path, compression="zstd", store_schema=False)
    return path


def page_bomb(path: Path, *, rows: int = 1500, value: int = 100_000, codec: str = "zstd") -> Path:
    """Pages that shrink to nothing: plain values, all the same."""
    table = _long(rows, pa.array(["y" * value] * rows))
    pq.write_table(table, path, compression=codec, use_dictionary=False)
    return path


def delta_bomb(path: Path, *, rows: int = 1500, value: int = 100_000) -> Path:
    """Values that each repeat the whole one before them."""
    table = _long(rows, pa.array(["z" * value] * rows))
    pq.write_table(
        table, path, compression="zstd", use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip
    return path


def null_bomb(path: Path, *, rows: int = 30_000_000) -> Path:
    """Rows of nothing but nulls."""
    names = ("query_id", "query", "doc_id", "text")
    table = pa.table({name: pa.nulls(rows, pa.string()) for name in names})
    pq.write_table(table, path, compression="zstd", row_group_size=rows)
    return path


def list_bomb(path: Path, *, items: int = 20_000_000) -> Path:
    """One query with a list of nulls."""
    inner = pa.StructArray.from_arrays(
        [pa.nulls(items, pa.string()), pa.nulls(items, pa.string())], ["doc_id", "text"]
    )
    lists = pa.ListArray.from_arrays(pa.array([0, items], pa.int32()), inner)
    table = pa.table({"query_id": ["q"], "query": ["find"], "candidates": lists})
    pq.write_table(table, path, compression="zstd")
    return path


def repeating_bomb(path: Path, *, items: int = 20_000, value: int = 2**20) -> Path:
    """A long value of a query that is copied beside each of its many candidates."""
    inner = [{"doc_id": str(i), "text": "t"} for i in range(items)]
    table = pa.table({"query_id": ["q"], "query": ["find"], "note": ["n" * value]})
    table = table.append_column("candidates", pa.array([inner]))
    pq.write_table(table, path, compression="zstd")
    return path


def _long(rows: int, text: pa.Array) -> pa.Table:
    ids: Sequence[str] = [str(i) for i in range(rows)]
    return pa.table({"query_id": ["q"] * rows, "query": ["x"] * rows, "doc_id": ids, "text": text})
