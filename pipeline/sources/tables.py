"""Rows of a file as a canonical table: our names and types, the place of each row, what is wrong.

Parquet holds typed columns, so a value that does not fit stops the run, as it does where Parquet is
read as it is. A line of text that does not fit is one bad line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.canonical import carried, plain
from pipeline.candidates.casting import Place, to_ids, to_number, uuid_text
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.roles import RoleColumns

#: Where a row is from: number of the file, row or byte in it, place in a nested list.
FILE: Final = "_file"
ROW: Final = "_row"
ITEM: Final = "_item"
PLACES: Final = (FILE, ROW, ITEM)

#: Reason of a line that is no row of its format.
MALFORMED_LINE: Final = "malformed_line"

_NUMBERS: Final = (schema.FIRST_STAGE_SCORE, schema.FIRST_STAGE_RANK)
_IDS: Final = (schema.QUERY_ID, schema.DOC_ID)


def table_schema(columns: RoleColumns) -> pa.Schema:
    """The schema of every table of a source."""
    fields = [(name, columns.type_of(name)) for name in columns.names]
    return pa.schema(
        [
            *fields,
            (schema.REASON, pa.string()),
            (schema.MESSAGE, pa.string()),
            (FILE, pa.int32()),
            (ROW, pa.int64()),
            (ITEM, pa.int32()),
        ]
    )


def canonical(
    columns: RoleColumns, raw: RawRows, *, path: str, number: int, unit: str | None = None
) -> pa.Table:
    """Some rows of a file, in order.

    Args:
        columns: of the file, in the types of all files.
        raw: rows by the file's names.
        path: the file.
        number: of the file in its source.
        unit: what ``raw.rows`` counts in a text file (byte, record); None: Parquet.

    Raises:
        InputContractError: a value of a Parquet file does not fit its column.
    """
    own = {**columns.outer, **columns.inner}
    values = {name: _plain(columns, raw, name, of) for name, of in own.items()}
    faults = dict(raw.faults)
    place = Place(path=path, rows=raw.rows)
    found: dict[str, pa.Array] = {}
    invalid = np.zeros(len(raw), dtype=bool)
    for name, given in values.items():
        if name in columns.texts:
            found[name], bad = reasons.to_text(given)
            invalid |= bad
        elif unit is not None and (name in _IDS or name in _NUMBERS):
            found[name] = _lenient(name, given, faults)
        elif name in _IDS:
            found[name] = to_ids(given, columns.type_of(name), f"'{own[name]}'", place)
        elif name in _NUMBERS:
            found[name] = to_number(given, name, f"'{own[name]}'", place)
        else:
            if pa.types.is_binary(given.type) and given.type != columns.type_of(name):
                given = reasons.to_text(given)[0]
            found[name] = carried(given, columns.type_of(name), own[name], place)
    reason, message = _told(raw, faults, invalid, path, unit)
    return pa.table(
        [
            *(found[name] for name in columns.names),
            reason,
            message,
            pa.array(np.full(len(raw), number), pa.int32()),
            pa.array(raw.rows, pa.int64()),
            pa.array(raw.items, pa.int32()),
        ],
        schema=table_schema(columns),
    )


def only_columns(columns: RoleColumns, wanted: tuple[str, ...]) -> RoleColumns:
    """The same file with fewer of our columns; the id of a list's query stays."""
    return replace(
        columns,
        outer={name: own for name, own in columns.outer.items() if name in wanted},
        inner={name: own for name, own in columns.inner.items() if name in wanted},
    )


def _plain(columns: RoleColumns, raw: RawRows, name: str, own: str) -> pa.Array:
    given = plain(raw.columns[columns.key(name)])
    level = "query" if name in columns.outer else "candidate"
    if (level, own) in columns.uuids and given.type == pa.binary(16):
        return uuid_text(given)
    return given


def _lenient(name: str, given: pa.Array, faults: dict[int, str]) -> pa.Array:
    """Ids or numbers of text; a value that is none is a fault of its row."""
    text, invalid = reasons.to_text(given)
    for place in np.flatnonzero(invalid):
        faults.setdefault(int(place), f"the {name} is not valid UTF-8")
    if name in _IDS:
        return text
    kind = pa.float64() if name == schema.FIRST_STAGE_SCORE else pa.int32()
    text = pc.if_else(pc.equal(text, ""), None, text)
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        pass  # some value is none; find out which, one by one
    found = [_number(value, kind) for value in text.to_pylist()]
    what = "a number" if name == schema.FIRST_STAGE_SCORE else "a whole number of 32 bits"
    for row, value in enumerate(found):
        if value is None and text[row].is_valid:
            faults.setdefault(row, f"the {name} is not {what}")
    return pa.array(found, kind)


def _number(value: str | None, kind: pa.DataType) -> int | float | None:
    if value is None:
        return None
    try:
        found: int | float = pa.array([value]).cast(kind)[0].as_py()
    except pa.ArrowInvalid:
        return None
    return found


def _told(
    raw: RawRows,
    faults: Mapping[int, str],
    invalid: npt.NDArray[np.bool_],
    path: str,
    unit: str | None,
) -> tuple[pa.Array, pa.Array]:
    """string [N] twice: why a row cannot be scored, and what to say of it."""
    reason = np.full(len(raw), None, dtype=object)
    message = np.full(len(raw), None, dtype=object)
    reason[invalid] = reasons.INVALID_UTF8
    reason[list(raw.bare)] = reasons.NO_CANDIDATES
    for place, told in faults.items():
        reason[place] = MALFORMED_LINE
        message[place] = f"{path}, {unit} {int(raw.rows[place])}: {told}"
    return pa.array(reason, pa.string()), pa.array(message, pa.string())
