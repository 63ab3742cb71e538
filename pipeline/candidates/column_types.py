"""Which Arrow types a column may have in each of its uses, and what is said of one that may not.

A type that can never be cast is refused when the input is opened. Whether the values of one that
perhaps can (text that should be numbers, numbers that should be ranks) really do, is seen when
they are read (:mod:`pipeline.candidates.casting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError

_TEXT_CHECKS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_null,
)
_LIST_CHECKS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
    pa.types.is_fixed_size_list,
)


_BY_POSITION: Final = (
    "name candidates by their places in the list, '0', '1' ...: "
    f"--set input.columns.doc_id={schema.POSITION}"
)

#: Stands for decimals without fraction of more than 18 digits, which not every integer type holds.
WIDE_DECIMAL: Final = pa.decimal256(76, 0)

#: Digits that every integer of so many fits into int64.
_INT64_DIGITS: Final = 18


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a dictionary's values; any other type as it is."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type can be read as text."""
    return any(check(plain_type(kind)) for check in _TEXT_CHECKS)


def is_list(kind: pa.DataType) -> bool:
    """Whether values are lists, in any of Arrow's layouts; maps are not."""
    return any(check(kind) for check in _LIST_CHECKS)


def is_list_of_structs(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold the candidates of a query."""
    return is_list(kind) and bool(pa.types.is_struct(kind.value_type))


def is_list_of_texts(kind: pa.DataType) -> bool:
    """Whether values are lists of texts, some of which is known to be there."""
    return is_list(kind) and is_text(kind.value_type) and not pa.types.is_null(kind.value_type)


def list_fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct of lists, each of the type of its items; none of any other type."""
    if not pa.types.is_struct(kind):
        return []
    return [field.with_type(field.type.value_type) for field in kind if is_list(field.type)]


def holds_no_candidate(kind: pa.DataType) -> bool:
    """Whether a column is of the type that writers give to lists none of which has an item."""
    return bool(pa.types.is_null(kind) or (is_list(kind) and pa.types.is_null(kind.value_type)))


def require_text(field: pa.Field, source: str, note: str = "") -> None:
    """Refuse a column that cannot be text.

    Args:
        field: the column.
        source: its file.
        note: how the column was found, for the end of the message.
    """
    if not is_text(field.type):
        raise InputContractError(
            f"{source}: column '{field.name}' holds {field.type}, expected text; "
            f"{_text_hint(field)}{note}"
        )


def require_number(field: pa.Field, source: str, note: str = "") -> None:
    """Refuse a column whose values can never be numbers; text is judged value by value."""
    kind = plain_type(field.type)
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if not (any(check(kind) for check in checks) or is_text(kind)):
        raise InputContractError(
            f"{source}: column '{field.name}' holds {field.type}, expected numbers; write it as "
            f"numbers, or leave it out{note}"
        )


def require_image(field: pa.Field, source: str, note: str = "") -> None:
    """Refuse a column that holds neither bytes, nor URIs, nor structs of both."""
    kind = plain_type(field.type)
    if is_text(kind):
        return
    if pa.types.is_struct(kind):
        inner = {field.name: field.type for field in kind}
        known = [name for name in ("bytes", "path") if name in inner]
        if known and all(is_text(inner[name]) for name in known):
            return
    raise InputContractError(
        f"{source}: column '{field.name}' holds {field.type}, expected images: bytes, a URI as "
        f"text, or a struct with 'bytes' and 'path'{note}"
    )


def id_type(field: pa.Field, source: str, note: str = "", *, uuid: bool = False) -> pa.DataType:
    """Type of the ids of a column in the output; null where it holds nothing but nulls.

    Decimals without a fraction are integers: int64 where each of them fits, and
    :data:`WIDE_DECIMAL` otherwise, which is text unless other files hold integers.

    Raises:
        InputContractError: ids cannot be of this type.
    """
    kind = plain_type(field.type)
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return kind
    if pa.types.is_decimal(kind) and kind.scale == 0:
        return pa.int64() if kind.precision <= _INT64_DIGITS else WIDE_DECIMAL
    if is_text(kind) or uuid:
        return pa.string()
    raise InputContractError(
        f"{source}: column '{field.name}' holds {field.type}; ids must be strings or integers; "
        f"{_id_hint(field)}{note}"
    )


def carried_type(field: pa.Field, *, uuid: bool = False) -> pa.DataType:
    """Type of a copied column in the output."""
    return pa.string() if uuid else plain_type(field.type)


def candidates_hint(arrow: pa.Schema, names: Sequence[str]) -> str:
    """What is wrong with a column that should hold candidates and is no list of structs, if any."""
    for name in names:
        if name in arrow.names:
            kind = arrow.field(arrow.names.index(name)).type
            told = _not_candidates(name, kind)
            if told:
                return told
    return ""


def _not_candidates(name: str, kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return (
            f"column '{name}' is a map ({kind}); the nested layout needs a list of structs: write "
            "its entries as structs with doc_id and text"
        )
    if pa.types.is_struct(kind) and any(is_list(inner.type) for inner in kind):
        inner = ", ".join(field.name for field in kind)
        return (
            f"column '{name}' is a struct of lists ({inner}); the nested layout needs a list of "
            f"structs with doc_id and text: turn it around, for example in Python: "
            f"[dict(zip(p, row)) for row in zip(*p.values())] for each value p of '{name}'; or say "
            f"which of its lists holds the ids: --set input.columns.doc_id=FIELD, {_BY_POSITION}"
        )
    if is_list(kind) and is_text(kind.value_type):
        return (
            f"column '{name}' is a list of strings; the nested layout needs a list of structs with "
            f"doc_id and text: make them, for example with DuckDB: list_transform({name}, "
            f"lambda x, i: {{'{schema.DOC_ID}': i, '{schema.TEXT}': x}}) AS {schema.CANDIDATES}; "
            f"or {_BY_POSITION}"
        )
    if is_list(kind) and not is_list_of_structs(kind):
        return f"column '{name}' is a {kind}; the nested layout needs a list of structs"
    return ""


def _text_hint(field: pa.Field) -> str:
    if pa.types.is_nested(field.type):
        return "write it as a plain string, or name another column"
    return f"cast it, for example with DuckDB: CAST({field.name} AS VARCHAR)"


def _id_hint(field: pa.Field) -> str:
    if pa.types.is_decimal(field.type):
        return (
            "a decimal with a fraction is no exact name: cast it, for example with DuckDB: "
            f"CAST({field.name} AS BIGINT), or AS VARCHAR"
        )
    if pa.types.is_floating(field.type):
        return (
            "numbers with fractions are not exact names (pandas makes them of integers with gaps): "
            f"cast it, for example with DuckDB: CAST({field.name} AS BIGINT)"
        )
    return _text_hint(field)
