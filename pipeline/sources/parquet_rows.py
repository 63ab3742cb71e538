"""Rows of Parquet files of any role, long or nested; of filtered ones only those that match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.canonical import plain
from pipeline.candidates.casting import Place
from pipeline.candidates.nested_items import items_of, positions
from pipeline.candidates.partitions import Partitions, partitions_of, repeated
from pipeline.errors import InputContractError
from pipeline.sources.conditions import Conditions, columns_of, matching, may_match
from pipeline.sources.raw_rows import Ints, RawRows
from pipeline.sources.roles import RoleColumns
from pipeline.storage.files import FileIdentity
from pipeline.storage.parquet import Footer, read_rows
from pipeline.storage.parquet.columns import refuse_extensions, twice_error
from pipeline.storage.parquet.limits import DecodeBudget


def parquet_rows(
    file: FileIdentity, start: int, stop: int, columns: RoleColumns, conditions: Conditions,
    *, max_expansion: float,
) -> Iterator[RawRows]:  # fmt: skip
    """Rows ``[start, stop)`` in order.

    Raises:
        InputContractError: the file is another version or damaged, or a column cannot be read.
    """
    wanted = dict.fromkeys([*columns.top(), *columns_of(conditions)])
    path = {name: value for name, value in columns.partitions.items() if name in wanted}
    stored = [name for name in wanted if name not in path]
    budget = DecodeBudget(max_expansion=max_expansion, keeps=False)
    row = start
    for batch in read_rows(file.path, start, stop, columns=stored, expected=file, budget=budget):
        given = dict(zip(batch.schema.names, batch.columns, strict=True))
        given |= {name: repeated(value, batch.num_rows) for name, value in path.items()}
        place = Place(path=file.path, rows=np.arange(row, row + batch.num_rows))
        yield from column_rows(given, place, columns, conditions)
        row += batch.num_rows


def column_rows(
    given: dict[str, pa.Array], place: Place, columns: RoleColumns, conditions: Conditions
) -> Iterator[RawRows]:
    """Rows of columns with types, long or nested; nothing where no row matches.

    Args:
        given: the columns of the role and of the filter, by the file's names, [N] each.
        place: where the rows stand, N of them.
        columns: of the role.
        conditions: of the filter.
    """
    rows = place.rows
    if conditions:
        places = matching(conditions, given, place.path)
        if len(places) == 0:
            return
        rows = rows[places]
        given = {name: values.take(pa.array(places)) for name, values in given.items()}
    if columns.listed is None:
        yield _flat(given, rows)
    else:
        yield _nested(given, Place(path=place.path, rows=rows), columns)


def path_columns(footer: Footer) -> Partitions:
    """The columns that stand in the path of a file and not in the file itself."""
    found = partitions_of(footer.file.path)
    return {name: value for name, value in found.items() if name not in footer.schema.names}


def groups_to_read(footer: Footer, conditions: Conditions) -> list[bool]:
    """For each row group, whether it can hold a row that matches.

    Raises:
        InputContractError: the file lacks a column of the filter.
    """
    names = [name for name in columns_of(conditions) if name not in path_columns(footer)]
    check_filter(names, footer.schema, footer.file.path)
    known = {name: footer.ranges(name) for name in names if not _nests(footer, name)}
    return [
        may_match(conditions, {name: of[group] for name, of in known.items() if of})
        for group in range(len(footer.row_groups))
    ]


def check_filter(names: Sequence[str], arrow: pa.Schema, path: str) -> None:
    """Refuse a filter on columns that a file does not have, or whose values are not plain.

    Raises:
        InputContractError: names file and column.
    """
    missing = [name for name in names if name not in arrow.names]
    if missing:
        raise InputContractError(
            f"{path}: input.filter names '{missing[0]}', which is not there; columns found: "
            f"{', '.join(arrow.names)}"
        )
    for name in names:
        if arrow.names.count(name) > 1:
            raise twice_error(path, name)
        refuse_extensions(arrow.field(name), path)


def _nests(footer: Footer, name: str) -> bool:
    return bool(footer.schema.field(name).type.num_fields)


def _flat(given: dict[str, pa.Array], rows: Ints) -> RawRows:
    return RawRows(columns=given, rows=rows, items=np.zeros(len(rows), dtype=np.int64))


def _nested(given: dict[str, pa.Array], place: Place, columns: RoleColumns) -> RawRows:
    """A row for each item of a list, and one for a list without any."""
    listed = str(columns.listed)
    items, counts = items_of(plain(given[listed]), listed, {*columns.inner.values()}, place)
    shown = np.maximum(counts, 1)
    parents = np.repeat(np.arange(len(counts)), shown)
    begins = np.append(0, np.cumsum(shown))[:-1]
    within = np.arange(len(parents)) - begins[parents]
    bare = counts[parents] == 0
    source = pa.array(np.append(0, np.cumsum(counts))[:-1][parents] + within, mask=bare)
    if pa.types.is_null(items.type):
        inner = {columns.key(name): pa.nulls(len(parents)) for name in columns.inner}
    else:
        fields = dict(zip([f.name for f in items.type], items.flatten(), strict=True))
        fields[schema.POSITION] = positions(counts)
        inner = {columns.key(name): fields[own].take(source) for name, own in columns.inner.items()}
    return RawRows(
        columns={
            **{name: given[name].take(pa.array(parents)) for name in columns.outer.values()},
            **inner,
        },
        rows=place.rows[parents],
        items=within,
        bare=tuple(np.flatnonzero(bare).tolist()),
    )
