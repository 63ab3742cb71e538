"""Arrow's types in PostgreSQL, and rows as its COPY takes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import ConfigurationError

_BATCH: Final = 10_000
_LONGEST: Final = 63

#: What PostgreSQL itself calls each type (``format_type``), so that columns can be compared.
_NAMES: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_uint64, "numeric(20,0)"),
    (lambda kind: pa.types.is_int64(kind) or pa.types.is_uint32(kind), "bigint"),
    (lambda kind: pa.types.is_int32(kind) or pa.types.is_uint16(kind), "integer"),
    (pa.types.is_integer, "smallint"),
    (lambda kind: pa.types.is_float16(kind) or pa.types.is_float32(kind), "real"),
    (pa.types.is_float64, "double precision"),
    (pa.types.is_decimal, "numeric"),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "text"),
    (pa.types.is_string_view, "text"),
    (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), "bytea"),
    (pa.types.is_fixed_size_binary, "bytea"),
    (pa.types.is_date, "date"),
    (pa.types.is_nested, "jsonb"),
    (pa.types.is_null, "text"),
)


def type_name(name: str, kind: pa.DataType) -> str:
    """The type of a column.

    Args:
        name: of the column, for the error.
        kind: its Arrow type.

    Raises:
        ConfigurationError: PostgreSQL has none for it, or cuts its name.
    """
    if len(name.encode()) > _LONGEST:
        raise ConfigurationError(
            f"output.columns: the name '{name}' has more than {_LONGEST} bytes, where PostgreSQL "
            "cuts it; carry the column under a shorter one"
        )
    if pa.types.is_timestamp(kind):
        return f"timestamp {'with' if kind.tz else 'without'} time zone"
    for fits, found in _NAMES:
        if fits(kind):
            return found
    raise ConfigurationError(
        f"output.columns: '{name}' is of Arrow's type {kind}, which has none in PostgreSQL; cast "
        "it in the input, or leave the column out"
    )


def tuples(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Rows as Python's values; nested ones are JSON, and times are cut to microseconds."""
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from zip(*(_values(column) for column in batch.columns), strict=True)


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    if pa.types.is_nested(column.type):
        return [None if value is None else json.dumps(value, default=str) for value in values]
    return values
