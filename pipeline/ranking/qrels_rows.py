"""Judgements with columns of types: Parquet and lines of JSON, as rows of text and grade."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputContractError
from pipeline.ranking.qrels_columns import GRADES, ROLES, places_of
from pipeline.storage.parquet import columns_of, table_of

#: A row: where it is from, and its query id, document id and grade as text.
Row = tuple[str, str, str, str]

_HINT: Final = "one row per judged document, ids as strings or integers"

#: Up to which float64 holds every integer.
_EXACT: Final = 2**53


def parquet_rows(data: bytes, source: str) -> Iterator[Row]:
    """The rows of a Parquet file with columns for query id, document id and grade.

    Integers become text as they are written without a type; floats do where they are whole, since
    pandas makes them of integers with gaps.

    Raises:
        InputContractError: the file is damaged, lacks a column, or one has another type or a null.
    """
    names = columns_of(data, source)
    places = places_of(names)
    if places is None:
        raise _no_columns(source, names)
    wanted = [names[place] for place in places]
    table = table_of(data, source, columns=wanted)
    columns = [_text(table.column(name), name, source).to_pylist() for name in wanted]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        query_id, doc_id, grade = values
        yield f"{source}, row {number}", query_id, doc_id, grade


def json_rows(lines: Iterator[tuple[int, str]], source: str) -> Iterator[Row]:
    """The rows of numbered lines that each hold one JSON object.

    Raises:
        InputContractError: a line is no JSON object, lacks a key, or a value has another type.
    """
    for number, line in lines:
        place = f"{source}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputContractError(f"{place}: expected a JSON object, {_HINT}")
        names = list(row)
        places = places_of(names)
        if places is None:
            raise _no_columns(place, names)
        query_id, doc_id, grade = (_written(row[names[at]], names[at], place) for at in places)
        yield place, query_id, doc_id, grade


def _text(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    """A column as text; refuses what is no name and no number."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py() + 1
        raise InputContractError(
            f"{source}, row {row}: column '{name}' is null; expected a value in every row"
        )
    if pa.types.is_floating(kind):
        column = _whole(column.cast(pa.float64()), name, source)
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not _is_plain(kind):
        raise InputContractError(
            f"{source}: column '{name}' holds {kind}; expected {_HINT}, and grades as integers"
        )
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        raise InputContractError(f"{source}: column '{name}' holds bytes that are not UTF-8") from (
            None
        )


def _whole(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), float(_EXACT)))
    if not pc.all(whole, min_count=0).as_py():
        row = pc.index(whole, False).as_py()
        raise InputContractError(
            f"{source}, row {row + 1}: column '{name}' holds {column[row].as_py()!r} as "
            f"{column.type}; expected whole numbers; write ids as strings, and grades as integers"
        )
    return column.cast(pa.int64())


def _is_plain(kind: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    views = (pa.types.is_string_view, pa.types.is_large_binary, pa.types.is_binary_view)
    whole = pa.types.is_decimal(kind) and kind.scale == 0
    return whole or any(check(kind) for check in (pa.types.is_integer, *texts, *views))


def _written(value: Any, name: str, place: str) -> str:
    """A value of JSON as text; refuses what is no name and no number."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if isinstance(value, int):
        return str(int(value))
    raise InputContractError(
        f"{place}: '{name}' holds {type(value).__name__}; expected {_HINT}, and grades as integers"
    )


def _no_columns(place: str, names: list[str]) -> InputContractError:
    return InputContractError(
        f"{place}: expected columns {', '.join(ROLES)}, {_HINT} (a grade may be called "
        f"{', '.join(GRADES[1:])}); columns found: {', '.join(names) or 'none'}"
    )
