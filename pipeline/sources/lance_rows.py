"""Rows of Lance tables of any role, long or nested; of filtered ones only those that match.

A table is opened with the columns of its role alone. What its schema declares to be an extension
type, or a blob beside the rows, is refused where it would be read, before a value of it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.candidates.casting import Place
from pipeline.config import InputConfig
from pipeline.sources.conditions import Conditions, columns_of
from pipeline.sources.parquet_rows import check_filter, column_rows
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.roles import Role, RoleColumns, map_role
from pipeline.storage.lance_tables import (
    Fragment,
    LanceTable,
    explained,
    lance_batches,
    lance_content,
)
from pipeline.storage.parquet.arrow_schema import DECLARED_KEY, stored_type
from pipeline.storage.parquet.columns import uuid_columns
from pipeline.storage.parquet.limits import refuse_expansion

#: Keys of a field's metadata: Arrow's extension types, and Lance's older blobs, which are beside
#: the rows (https://lance.org/guide/blob/).
_EXTENSION: Final = "ARROW:extension:name"
_BLOB: Final = "lance-encoding:blob"

_UUID: Final = "arrow.uuid"
_JSON: Final = "lance.json"

#: Rows by which the size of a row is told.
_LOOKED_AT: Final = 256


@dataclass(frozen=True, kw_only=True)
class LanceFile:
    """How a table is read.

    Attributes:
        table: the version.
        schema: its columns as they are stored; what may not be read is null, and declared.
        fragments: in order of their rows.
        row_bytes: of the columns that are read, decoded, by the first rows.
    """

    table: LanceTable
    schema: pa.Schema
    fragments: tuple[Fragment, ...]
    row_bytes: float

    @property
    def rows(self) -> int:
        """How many there are, without those that are deleted."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def size_bytes(self) -> int:
        """Of all rows, decoded, about."""
        return int(self.rows * self.row_bytes)


def open_lance(
    role: Role, table: LanceTable, config: InputConfig, *, pass_through: tuple[str, ...],
    conditions: Conditions,
) -> tuple[LanceFile, RoleColumns]:  # fmt: skip
    """Find out how a table is read.

    Raises:
        InputContractError: a column is missing or of a type that is not read, or the first rows
            cannot be read.
    """
    fields, fragments = lance_content(table)
    with explained(table.path):
        declared = pa.schema([_field(field) for field in fields])
    arrow = pa.schema([field.with_type(stored_type(field.type)) for field in declared])
    columns = map_role(
        role, arrow, path=table.path, config=config, pass_through=pass_through,
        uuids=uuid_columns((), declared),
    )  # fmt: skip
    check_filter(columns_of(conditions), arrow, table.path)
    names = _names(columns, conditions)
    first = islice(lance_batches(table, fragments, 0, _LOOKED_AT, columns=names), 1)
    sizes = [batch.nbytes / max(1, batch.num_rows) for batch in first]
    opened = LanceFile(
        table=table, schema=arrow, fragments=fragments, row_bytes=sum(sizes) if sizes else 0.0
    )
    return opened, columns


def lance_rows(
    file: LanceFile, start: int, stop: int, columns: RoleColumns, conditions: Conditions,
    *, max_expansion: float,
) -> Iterator[RawRows]:  # fmt: skip
    """Rows ``[start, stop)`` in order; rows that are deleted do not count.

    Raises:
        InputContractError: the version is gone or damaged, or a column cannot be read.
    """
    path, row = file.table.path, start
    batches = lance_batches(
        file.table, file.fragments, start, stop, columns=_names(columns, conditions),
        row_bytes=file.row_bytes,
    )  # fmt: skip
    for batch in batches:
        refuse_expansion(batch.nbytes, file.table.size, path, limit=max_expansion)
        given = {
            name: _stored(values, file.schema.field(name).type)
            for name, values in zip(batch.schema.names, batch.columns, strict=True)
        }
        place = Place(path=path, rows=np.arange(row, row + batch.num_rows))
        yield from column_rows(given, place, columns, conditions)
        row += batch.num_rows


def _names(columns: RoleColumns, conditions: Conditions) -> list[str]:
    return list(dict.fromkeys([*columns.top(), *columns_of(conditions)]))


def _stored(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values without the names of extension types, and lists without a fixed size."""
    return values if values.type == kind else values.cast(kind)


def _field(given: Any) -> pa.Field:
    """A column as Arrow has it; one that may not be read is null, under the name of its type."""
    names = set(_declared(given))
    if names == {_JSON} and not given.children():
        return pa.field(given.name(), pa.string())
    if names <= {_UUID}:
        return given.to_arrow()
    return _placeholder(given)


def _declared(given: Any) -> Iterator[str]:
    """Names of the extension types at or below a column, blobs among them."""
    name = _extension(given)
    if name:
        yield name
    for child in given.children():
        yield from _declared(child)


def _extension(given: Any) -> str:
    metadata = given.metadata
    blob = "lance.blob" if metadata.get(_BLOB) == "true" else ""
    return str(metadata.get(_EXTENSION, blob))


def _placeholder(given: Any) -> pa.Field:
    """A column of the same nesting without any value, so that a refusal names the place."""
    name = _extension(given)
    if name:
        return pa.field(given.name(), pa.null(), metadata={DECLARED_KEY: name})
    inner = [_placeholder(child) for child in given.children()]
    if not inner:
        return pa.field(given.name(), pa.null())
    alone = len(inner) == 1 and inner[0].name == "item"
    return pa.field(given.name(), pa.list_(inner[0]) if alone else pa.struct(inner))
