"""Rows as the bytes of Parquet, JSON Lines and Arrow files; the same bytes for the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.distillation.formats.support.examples import Content, Examples, Floats, Ints
from pipeline.distillation.rules import canonical

#: How Hugging Face's ``Image`` feature is stored: the file's bytes, or where it lies.
IMAGE_TYPE: Final = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def content_type(content: Content) -> pa.DataType:
    """Type of a document column."""
    return IMAGE_TYPE if content == "image" else pa.string()


def document_column(examples: Examples, rows: Ints, content: Content) -> pa.Array:
    """Text or image of the documents at ``rows``."""
    if content == "text":
        return examples.column(schema.TEXT, rows)
    return pa.StructArray.from_arrays(
        [examples.column(schema.IMAGE, rows), examples.column(canonical.IMAGE_URI, rows)],
        fields=list(IMAGE_TYPE),
    )


def scored_columns(examples: Examples, rows: Ints, content: Content) -> list[pa.Array]:
    """A column per place of the documents at ``rows`` [R, W], then a list of the W scores."""
    columns = [document_column(examples, rows[:, place], content) for place in range(rows.shape[1])]
    lengths = np.full(len(rows), rows.shape[1])
    return [*columns, lists(examples.column(schema.SCORE, rows.ravel()), lengths)]


def lists(values: pa.Array, lengths: Ints) -> pa.Array:
    """Consecutive runs of ``values`` as lists."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def parquet(blocks: Iterable[pa.Table], layout: pa.Schema) -> bytes:
    """One Parquet file with a row group per block: zstd, page checksums."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, layout, compression="zstd", write_page_checksum=True) as writer:
        for block in blocks:
            writer.write_table(block.replace_schema_metadata(layout.metadata))
    return bytes(sink.getvalue())


def arrow_stream(table: pa.Table) -> bytes:
    """One Arrow stream, as Hugging Face's ``save_to_disk`` writes it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return bytes(sink.getvalue())


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One JSON object a line, UTF-8; empty for no rows."""
    return b"".join(
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n" for row in rows
    )


def json_scores(scores: Floats) -> list[float]:
    """The shortest decimal numbers that are these float32 values again when they are read.

    Always with a point or an exponent, so that no reader takes a column for integers.
    """
    return [float(str(score)) for score in scores]


def features_metadata(layout: pa.Schema) -> dict[str, str]:
    """What makes ``datasets`` decode image columns as images; nothing where there are none."""
    if not any(_is_image(field.type) for field in layout):
        return {}
    features = {field.name: _feature(field.type) for field in layout}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _is_image(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return bool(inner == IMAGE_TYPE)


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if kind == IMAGE_TYPE:
        return {"_type": "Image"}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}
