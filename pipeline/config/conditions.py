"""The shape of ``input.filter``: conditions in the normal form that pyarrow.parquet takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

#: The operators of ``pyarrow.parquet.filters_to_expression``.
OPERATORS: Final = ("=", "==", "!=", "<", "<=", ">", ">=", "in", "not in")

_HINT: Final = "write [[COLUMN, OP, VALUE], ...], for example [[lang, ==, en], [score, '>', 0.5]]"


def refuse_malformed(conditions: Sequence[Any] | None) -> None:
    """Refuse what is no list of conditions, and no list of such lists.

    Raises:
        ValueError: says which part is wrong, and what one looks like.
    """
    if conditions is None:
        return
    if not conditions:
        raise ValueError(f"holds no condition; leave it out, or {_HINT}")
    nested = all(_is_list(part) and part and _is_list(part[0]) for part in conditions)
    for group in conditions if nested else (conditions,):
        for condition in group:
            _refuse_malformed_one(condition)


def _refuse_malformed_one(condition: Any) -> None:
    if not _is_list(condition) or len(condition) != 3 or not isinstance(condition[0], str):
        raise ValueError(f"{condition!r} is no condition; {_HINT}")
    _, operator, value = condition
    if operator not in OPERATORS:
        raise ValueError(f"unknown operator {operator!r}; one of {', '.join(OPERATORS)}")
    if (operator in ("in", "not in")) != _is_list(value):
        wanted = "a list of values" if operator in ("in", "not in") else "a single value"
        raise ValueError(f"{condition!r}: {operator!r} takes {wanted}")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
