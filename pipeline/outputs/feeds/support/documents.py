"""Changed rows as the documents of a search engine: JSON values, and one id per row."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.outputs.feeds.support.base import GONE, Delivery

#: Field of every document: the generation that wrote it last.
GENERATION: Final = "generation"

#: Fields of a document before the carried columns.
OWN_FIELDS: Final = (schema.QUERY_ID, schema.DOC_ID, schema.RANK, schema.SCORE, schema.REASON)

#: Longest id of a document in Elasticsearch and OpenSearch, in bytes of UTF-8.
_LONGEST_ID: Final = 512


@dataclass(frozen=True)
class Document:
    """One row for an engine.

    Attributes:
        id: of the row, see :func:`joined_id`.
        change: what happened to it, of :mod:`pipeline.outputs.feeds.support.base`.
        fields: JSON values by name, null ones included; of a row that is gone none.
    """

    id: str
    change: str
    fields: Mapping[str, Any]

    def present(self) -> dict[str, Any]:
        """The fields that have a value."""
        return {name: value for name, value in self.fields.items() if value is not None}


def joined_id(query_id: str | int, doc_id: str | int) -> str:
    """The id of a row, another one for every pair of ids.

    ``LENGTH:QUERY:DOCUMENT`` with the query id's length in characters, which says where it ends
    whatever is in it. Where that is longer than 512 bytes, ``sha256:`` and the digest of it.
    """
    query = str(query_id)
    joined = f"{len(query)}:{query}:{doc_id}"
    if len(joined) * 4 > _LONGEST_ID and len(data := joined.encode()) > _LONGEST_ID:
        return f"sha256:{hashlib.sha256(data).hexdigest()}"
    return joined


def field_names(delivery: Delivery, columns: Sequence[str] | None, *, where: str) -> list[str]:
    """The fields of a delivery's documents but for :data:`GENERATION`, in order.

    Args:
        delivery: whose rows they are made of.
        columns: the carried columns that are wanted; None: all.
        where: the feed's setting, for errors.

    Raises:
        ConfigurationError: a wanted column is not carried, or has a name that is taken.
    """
    carried = list(delivery.columns)
    if delivery.parts and columns is not None:
        for name in columns:
            if name not in carried:
                raise ConfigurationError(
                    f"{where}: no column '{name}' is carried; it must be one of output.columns: "
                    f"{', '.join(carried) or 'none'}"
                )
    wanted = carried if columns is None else [name for name in carried if name in columns]
    if GENERATION in wanted:
        raise ConfigurationError(
            f"{where}: the field '{GENERATION}' of a document says which generation wrote it; "
            "carry the column of that name under another one, or leave it out of this setting"
        )
    return [*OWN_FIELDS, *wanted]


def documents(rows: pa.Table, names: Sequence[str], generation: int) -> Iterator[Document]:
    """The documents of changed rows, in their order.

    Args:
        rows: [N], of :meth:`pipeline.outputs.feeds.support.base.ChangePart.rows`.
        names: of the columns that become fields, see :func:`field_names`.
        generation: that writes them.

    Raises:
        InputContractError: a column holds what JSON cannot; names it.
    """
    columns = [_values(rows.column(name), name) for name in names]
    changes = rows.column(schema.CHANGE).to_pylist()
    keys = [*names, GENERATION]
    for change, values in zip(changes, zip(*columns, strict=True), strict=True):
        document_id = joined_id(values[0], values[1])
        fields = {} if change == GONE else dict(zip(keys, (*values, generation), strict=True))
        yield Document(id=document_id, change=change, fields=fields)


def to_json(value: Any, *, of: str) -> bytes:
    """A JSON value in one line of UTF-8.

    Args:
        value: what is written.
        of: the document's id, for the error.

    Raises:
        InputContractError: it holds a number that is not finite, or a value of a type that has no
            form in JSON.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
        )
        return text.encode()
    except (ValueError, TypeError) as error:
        raise InputContractError(
            f"document {of!r}: {error}. JSON cannot hold the value of one of its columns; leave "
            "that column out of the feed's setting 'columns'"
        ) from None


def _values(column: pa.ChunkedArray, name: str) -> list[Any]:
    kind = column.type
    try:
        if pa.types.is_float32(kind) or pa.types.is_float16(kind):
            return _short_floats(column)
        if pa.types.is_timestamp(kind):  # as text, which keeps nanoseconds
            texts = pc.cast(column, pa.string())
            return list(pc.replace_substring(texts, " ", "T", max_replacements=1).to_pylist())
        return list(column.to_pylist())
    except UnicodeDecodeError as error:
        raise InputContractError(
            f"column '{name}': a value is not UTF-8 ({error}); repair it, or leave the column out"
        ) from None


def _short_floats(column: pa.ChunkedArray) -> list[float | None]:
    """With as many digits as bring the same float32 back, and not those of its double."""
    numbers = column.combine_chunks().to_numpy(zero_copy_only=False)
    valid = column.is_valid().to_pylist()
    return [
        float(str(number)) if there else None for number, there in zip(numbers, valid, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Types that JSON lacks, as engines read them."""
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")
