"""Values to the types that we use; a value that does not fit is named with its file and row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.reasons import to_text
from pipeline.errors import InputContractError

#: What each use needs, for messages.
_EXPECTED = {
    schema.FIRST_STAGE_SCORE: "a number",
    schema.FIRST_STAGE_RANK: "a whole number of 32 bits",
}

_MOST_SHOWN = 60

#: Digits of decimal32 and decimal64.
_NARROW_DIGITS = 18


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the values of a batch are from.

    Attributes:
        path: their file.
        rows: int64 [N], the row of each value in it, from 0.
    """

    path: str
    rows: npt.NDArray[np.int64]

    def error(self, column: str, values: pa.Array, place: int, expected: str) -> InputContractError:
        """The refusal of one value."""
        value = values.slice(place, 1)
        try:
            shown = repr(value[0].as_py())
        except UnicodeDecodeError:  # declared as text, and none
            nested = pa.types.is_nested(value.type)
            shown = "bytes" if nested else repr(value.cast(pa.large_binary())[0].as_py())
        if len(shown) > _MOST_SHOWN:
            shown = f"{shown[:_MOST_SHOWN]}..."
        return InputContractError(
            f"{self.path}, row {int(self.rows[place])}: column {column} holds {shown}, expected "
            f"{expected}; repair the value, map another column, or leave the column out"
        )


def to_ids(values: pa.Array, kind: pa.DataType, column: str, place: Place) -> pa.Array:
    """Ids as integers of a type, or as strings.

    Raises:
        InputContractError: a value does not fit; names file, row and column.
    """
    if pa.types.is_decimal(values.type):
        if not pa.types.is_integer(kind):
            return values.cast(pa.string())
        if values.type.precision <= _NARROW_DIGITS:
            # Arrow 26 finds values of decimal32 and decimal64 out of bounds that are not.
            values = values.cast(pa.decimal128(38, 0))
    if pa.types.is_integer(kind):
        return _cast(values, kind, column, place, f"an integer that fits {kind}")
    decoded, invalid = to_text(values)
    if invalid.any():
        raise place.error(column, values, int(np.flatnonzero(invalid)[0]), "valid UTF-8")
    return decoded


def whole(values: pa.Array, column: str, place: Place) -> pa.Array:
    """Values that are copied as they are, once it is known that all text in them is UTF-8.

    Raises:
        InputContractError: some is not; names file, row and column.
    """
    if _fails(values, _validate):
        # A slice of nested values is validated with all that its neighbours hold; a copy is not.
        found = _first_failure(values, lambda part: _validate(part.take(np.arange(len(part)))))
        raise place.error(f"'{column}'", values, found or 0, "valid UTF-8")
    return values


def to_number(values: pa.Array, name: str, column: str, place: Place) -> pa.Array:
    """First-stage scores as float64, or ranks as int32; null stays null.

    Whole numbers become the nearest float64. A rank that is NaN is none: what writes integers with
    gaps as floats (fastparquet, polars) has no other mark.

    Raises:
        InputContractError: a value is no number, or no rank; names file, row and column.
    """
    kind = pa.float64() if name == schema.FIRST_STAGE_SCORE else pa.int32()
    if pa.types.is_decimal(values.type) or pa.types.is_floating(values.type):
        values = _cast(values, pa.float64(), column, place, _EXPECTED[name])
        if name == schema.FIRST_STAGE_RANK:
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    elif pa.types.is_integer(values.type) and name == schema.FIRST_STAGE_SCORE:
        return values.cast(kind, safe=False)
    elif not pa.types.is_integer(values.type):
        text, invalid = to_text(values)
        if invalid.any():
            raise place.error(column, values, int(np.flatnonzero(invalid)[0]), _EXPECTED[name])
        values = text
    return _cast(values, kind, column, place, _EXPECTED[name])


def uuid_text(values: pa.Array) -> pa.Array:
    """UUIDs of 16 bytes [N] as the text that people write: 8-4-4-4-12 hex digits."""
    digits = [None if value is None else value.hex() for value in values.to_pylist()]
    return pa.array(
        [
            None if d is None else f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}"
            for d in digits
        ],
        pa.string(),
    )


def _cast(
    values: pa.Array, kind: pa.DataType, column: str, place: Place, expected: str
) -> pa.Array:
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = _first_failure(values, lambda part: part.cast(kind))
        if found is None:
            raise
        raise place.error(column, values, found, expected) from None


def _first_failure(values: pa.Array, work: Callable[[pa.Array], object]) -> int | None:
    """Place of the first value that ``work`` refuses, by halves."""
    start, stop = 0, len(values)
    if not _fails(values, work):
        return None
    while stop - start > 1:
        middle = (start + stop) // 2
        if _fails(values.slice(start, middle - start), work):
            stop = middle
        else:
            start = middle
    return start


def _validate(values: pa.Array) -> None:
    values.validate(full=True)


def _fails(values: pa.Array, work: Callable[[pa.Array], object]) -> bool:
    try:
        work(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return True
    return False
