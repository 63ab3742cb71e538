"""``input.filter`` on rows, and on row groups by what a footer says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.candidates.canonical import plain
from pipeline.candidates.reasons import to_text
from pipeline.errors import InputContractError
from pipeline.sources.raw_rows import Ints
from pipeline.storage.parquet.ranges import ValueRange

#: Conjunctions of which one must hold; each of (column, operator, value).
Conditions: TypeAlias = tuple[tuple[tuple[str, str, Any], ...], ...]


def conditions_of(given: Sequence[Any] | None) -> Conditions:
    """A filter as conjunctions; of nothing none.

    Args:
        given: as ``input.filter`` has it: conditions that all hold, or lists of such.
    """
    if not given:
        return ()
    nested = all(isinstance(part[0], (list, tuple)) for part in given)
    groups = given if nested else [given]
    return tuple(tuple((c[0], c[1], c[2]) for c in group) for group in groups)


def columns_of(conditions: Conditions) -> list[str]:
    """The columns that a filter looks at."""
    return list(dict.fromkeys(name for group in conditions for name, _, _ in group))


def matching(conditions: Conditions, columns: Mapping[str, pa.Array], path: str) -> Ints:
    """Places of the rows that a filter lets through; a null matches nothing.

    Args:
        conditions: at least one.
        columns: those of :func:`columns_of`, [N] each; bytes are taken as text, and as numbers
            where they are compared with one.
        path: for messages.

    Raises:
        InputContractError: a column cannot be compared with its value.
    """
    typed = {name: _typed(name, columns[name], conditions) for name in columns_of(conditions)}
    expression = pq.filters_to_expression([list(group) for group in conditions])
    place = pa.array(np.arange(len(next(iter(typed.values())))))
    table = pa.table({**typed, _PLACE: place})
    try:
        found = table.filter(expression).column(_PLACE)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        kinds = ", ".join(f"{name} holds {values.type}" for name, values in typed.items())
        raise InputContractError(
            f"{path}: input.filter cannot be applied ({str(error).splitlines()[0]}); {kinds}"
        ) from None
    return np.asarray(found.to_numpy(), dtype=np.int64)


def may_match(conditions: Conditions, ranges: Mapping[str, ValueRange]) -> bool:
    """Whether a row group can hold a row that matches.

    Args:
        conditions: of the filter.
        ranges: what is known of the columns in this row group.
    """
    return not conditions or any(
        all(
            name not in ranges or _possible(ranges[name], operator, value)
            for name, operator, value in group
        )
        for group in conditions
    )


_PLACE: Final = "\0place"

_POSSIBLE: Final[dict[str, Callable[[Any, Any, Any], bool]]] = {
    "=": lambda low, high, value: low <= value <= high,
    "==": lambda low, high, value: low <= value <= high,
    "<": lambda low, high, value: low < value,
    "<=": lambda low, high, value: low <= value,
    ">": lambda low, high, value: high > value,
    ">=": lambda low, high, value: high >= value,
    "in": lambda low, high, value: any(low <= one <= high for one in value),
}


def _possible(known: ValueRange, operator: str, value: Any) -> bool:
    if known.low is None or operator not in _POSSIBLE:
        return True
    try:
        return _POSSIBLE[operator](known.low, known.high, value)
    except TypeError:  # text against a number: what that means is said where rows are read
        return True


def _typed(name: str, values: pa.Array, conditions: Conditions) -> pa.Array:
    values = plain(values)
    if not (pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)):
        return values
    text = to_text(values)[0]
    wanted = [value for group in conditions for column, _, value in group if column == name]
    flat = [
        one for value in wanted for one in (value if isinstance(value, (list, tuple)) else [value])
    ]
    if not flat or not all(type(one) in (int, float) for one in flat):
        return text
    return _numbers(text)


def _numbers(text: pa.Array) -> pa.Array:
    """Numbers of text; null where it is none."""
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        found = [_number(value) for value in text]
        return pa.array(found, pa.float64())


def _number(value: pa.Scalar) -> Any:
    try:
        return pc.cast(value, pa.float64()).as_py()
    except pa.ArrowInvalid:
        return None
