"""Structs of Parquet's footers and page headers: the fields that are asked for, by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.storage.parquet.thrift import (
    BINARY,
    DEEPEST,
    FALSE,
    INTEGERS,
    LIST,
    STRUCT,
    TRUE,
    Bytes,
    Items,
    ThriftError,
    read_list_head,
    read_signed,
    skip,
    string_at,
)

Fields = dict[int, Any]

#: Fields of a struct to read, by id, each with the shape of its own value: empty where it is no
#: struct and no list of structs. All other fields are passed over.
Shape = Mapping[int, "Shape"]

#: A value that is no struct.
PLAIN: Final[Shape] = {}


def integer(fields: Fields, identifier: int, default: int = -1) -> int:
    """The whole number in a field.

    Raises:
        ThriftError: it holds something else.
    """
    value = fields.get(identifier, default)
    if not isinstance(value, int):
        raise ThriftError(f"field {identifier} is no whole number")
    return value


def struct(fields: Fields, identifier: int) -> Fields:
    """The struct in a field.

    Raises:
        ThriftError: there is none.
    """
    value = fields.get(identifier)
    if not isinstance(value, dict):
        raise ThriftError(f"field {identifier} is no struct")
    return value


def read_struct(data: Bytes, place: int, shape: Shape, items: Items) -> tuple[Fields, int]:
    """Fields of a struct by id, and the place after it.

    Args:
        data: all bytes.
        place: where the struct begins.
        shape: which fields.
        items: counts down with every list, read or passed over.

    Raises:
        ThriftError: the bytes end early, are no struct, or hold too many items.
    """
    try:
        return _read_struct(data, place, shape, items, 0)
    except IndexError:
        raise ThriftError("a struct does not end") from None


def read_structs(data: Bytes, place: int, shape: Shape, items: Items) -> tuple[list[Fields], int]:
    """As :func:`read_struct`, of every item of a list."""
    try:
        found, place = _read_list(data, place, shape, items, 0)
    except IndexError:
        raise ThriftError("a list does not end") from None
    return found, place


def _read_struct(
    data: Bytes, place: int, shape: Shape, items: Items, depth: int
) -> tuple[Fields, int]:
    """Written out, for a footer is made of hundreds of thousands."""
    if depth > DEEPEST:
        raise ThriftError("structs are nested too deep")
    fields: Fields = {}
    last = 0
    while True:
        head = data[place]
        place += 1
        if head == 0:
            return fields, place
        kind = head & 0x0F
        if head > 0x0F:
            last += head >> 4
        else:
            last, place = read_signed(data, place)
        if last not in shape:
            place = skip(data, place, kind, items, depth) if kind > FALSE else place
        elif kind in INTEGERS:
            byte = data[place]
            if byte < 0x80:
                fields[last] = (byte >> 1) ^ -(byte & 1)
                place += 1
            else:
                fields[last], place = read_signed(data, place)
        elif kind == STRUCT:
            fields[last], place = _read_struct(data, place, shape[last], items, depth + 1)
        elif kind in (TRUE, FALSE):
            fields[last] = kind == TRUE
        elif kind == BINARY:
            start, place = string_at(data, place)
            fields[last] = data[start:place]
        elif kind == LIST:
            fields[last], place = _read_list(data, place, shape[last], items, depth + 1)
        else:
            raise ThriftError(f"field {last} is of type {kind}")


def _read_list(
    data: Bytes, place: int, shape: Shape, items: Items, depth: int
) -> tuple[list[Any], int]:
    """The structs or texts of a list."""
    kind, size, place = read_list_head(data, place)
    items.take(size)
    found: list[Any] = []
    for _ in range(size):
        if kind == STRUCT:
            item, place = _read_struct(data, place, shape, items, depth + 1)
            found.append(item)
        elif kind == BINARY:
            start, place = string_at(data, place)
            found.append(data[start:place])
        else:
            raise ThriftError(f"a list holds items of type {kind}")
    return found, place
