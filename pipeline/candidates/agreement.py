"""Whether the files of an input agree: one layout, and one type per column over all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.column_types import WIDE_DECIMAL
from pipeline.candidates.columns import ColumnMap
from pipeline.errors import InputContractError

#: Marks the types of ids among those of copied columns, which may have any name.
_ID: Final = "id "


def agreed(columns: dict[str, ColumnMap]) -> dict[str, ColumnMap]:
    """The column maps with one layout and one type per column, by path.

    Integer widths may differ (the widest is used), and nulls agree with anything; kinds may not.

    Args:
        columns: how each file alone is read, by path; at least one.

    Raises:
        InputContractError: a file has another layout than the first, or a column of another kind.
    """
    [(path, reference), *others] = columns.items()
    types: dict[str, tuple[str, pa.DataType]] = {}
    for name, kind in _types(reference).items():
        types[name] = (path, kind)
    for other, other_columns in others:
        if other_columns.layout != reference.layout:
            raise InputContractError(
                f"{other}: {other_columns.layout} layout, but {path} is {reference.layout}; rerank "
                "them apart"
            )
        for name, kind in _types(other_columns).items():
            types[name] = _common(types.get(name, (other, kind)), (other, kind), name)
    query_id, doc_id = (
        pa.string() if pa.types.is_null(kind) or kind == WIDE_DECIMAL else kind
        for _, kind in (types.pop(_ID + schema.QUERY_ID), types.pop(_ID + schema.DOC_ID))
    )
    carried = {name: kind for name, (_, kind) in types.items()}
    return {
        path: replace(
            of_file,
            query_id=query_id,
            doc_id=doc_id,
            carried={name: carried[name] for name in of_file.carried},
        )
        for path, of_file in columns.items()
    }


def _types(columns: ColumnMap) -> dict[str, pa.DataType]:
    ids = {_ID + schema.QUERY_ID: columns.query_id, _ID + schema.DOC_ID: columns.doc_id}
    return ids | dict(columns.carried)


def _common(
    left: tuple[str, pa.DataType], right: tuple[str, pa.DataType], name: str
) -> tuple[str, pa.DataType]:
    """The type that holds both, and a file that it stands in."""
    (path, first), (other, second) = left, right
    if first == second or pa.types.is_null(second):
        return left
    if pa.types.is_null(first):
        return right
    common = common_id(first, second) if name.startswith(_ID) else common_carried(first, second)
    if common is None:
        raise InputContractError(
            f"{other}: '{name.removeprefix(_ID)}' holds {second}, but {first} in {path}; write "
            "both files with one type"
        )
    return path, common


def common_id(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds ids of both integer types; None where one is no integer."""
    kinds = [kind for kind in (first, second) if kind != WIDE_DECIMAL]
    if not all(pa.types.is_integer(kind) for kind in kinds):
        return None
    first, second = kinds[0], kinds[-1]
    unsigned = pa.types.is_unsigned_integer(first) and pa.types.is_unsigned_integer(second)
    # What does not fit a signed number is refused by value: every other type would rename ids.
    return pa.uint64() if unsigned and pa.uint64() in (first, second) else pa.int64()


def common_carried(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds copied values of both; None where there is none."""
    try:
        merged = pa.unify_schemas(
            [pa.schema([pa.field("x", first)]), pa.schema([pa.field("x", second)])],
            promote_options="permissive",
        )
    except (pa.ArrowTypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return merged.field("x").type
