"""The compact protocol of Thrift, as far as Parquet's footers and page headers use it.

Arrow's own reader ends the process when it is asked about a column whose metadata is encrypted or
broken, and it allocates what a header claims before it has seen the data. What is read here only
costs what is there: every size is held against the bytes that are left.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, overload

#: Structs inside structs; Parquet's own go six deep.
_DEEPEST: Final = 24

#: Bytes of the longest 64-bit number.
_LONGEST_NUMBER: Final = 10

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS: Final = frozenset({4, 5, 6})

Fields = dict[int, Any]
#: Bytes that are in memory.
Held = bytes | memoryview


class Bytes(Protocol):
    """Bytes, a view of some, or a range of a file that is used like them."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, wanted: int, /) -> int: ...

    @overload
    def __getitem__(self, wanted: slice, /) -> bytes | memoryview: ...


class ThriftError(ValueError):
    """The bytes are not what the protocol allows."""


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


def read_number(data: Bytes, place: int) -> tuple[int, int]:
    """An unsigned number and the place after it."""
    value = shift = 0
    for byte in data[place : place + _LONGEST_NUMBER]:
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ThriftError("a number does not end")


def read_signed(data: Bytes, place: int) -> tuple[int, int]:
    """A signed number and the place after it."""
    value, place = read_number(data, place)
    return (value >> 1) ^ -(value & 1), place


def read_field(data: Bytes, place: int, last: int) -> tuple[int, int, int]:
    """Id and type of the next field of a struct, and the place of its value; type 0 ends it.

    Args:
        data: all bytes.
        place: where the field begins.
        last: id of the field before it, 0 for none.
    """
    if place >= len(data):
        raise ThriftError("a struct does not end")
    head = data[place]
    place += 1
    if head == 0:
        return last, 0, place
    if head >> 4:
        return last + (head >> 4), head & 0x0F, place
    identifier, place = read_signed(data, place)
    return identifier, head & 0x0F, place


def read_list_head(data: Bytes, place: int) -> tuple[int, int, int]:
    """Type of a list's items, their number, and the place of the first one."""
    if place >= len(data):
        raise ThriftError("a list does not begin")
    head = data[place]
    place += 1
    size = head >> 4
    if size == 15:
        size, place = read_number(data, place)
    if size > len(data) - place:
        raise ThriftError(f"a list of {size} items in {len(data) - place} bytes")
    return head & 0x0F, size, place


def read_struct(data: Bytes, place: int, depth: int = 0) -> tuple[Fields, int]:
    """Every field of a struct by id, and the place after it.

    Raises:
        ThriftError: the bytes end early, or are no struct.
    """
    if depth > _DEEPEST:
        raise ThriftError("structs are nested too deep")
    try:
        return _read_struct(data, place, depth)
    except IndexError:
        raise ThriftError("a struct does not end") from None


def _read_struct(data: Bytes, place: int, depth: int) -> tuple[Fields, int]:
    """As :func:`read_struct`; written out, for a footer is made of hundreds of thousands."""
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
        if kind in _INTEGERS:
            byte = data[place]
            if byte < 0x80:
                fields[last] = (byte >> 1) ^ -(byte & 1)
                place += 1
            else:
                fields[last], place = read_signed(data, place)
        elif kind == _STRUCT:
            fields[last], place = read_struct(data, place, depth + 1)
        elif kind in (_TRUE, _FALSE):
            fields[last] = kind == _TRUE
        else:
            fields[last], place = read_value(data, place, kind, depth)


def read_value(data: Bytes, place: int, kind: int, depth: int = 0) -> tuple[Any, int]:
    """A value of a type, and the place after it.

    Raises:
        ThriftError: the bytes end early, or there is no such type.
    """
    if kind in _INTEGERS:
        return read_signed(data, place)
    if kind == _BINARY:
        size, place = read_number(data, place)
        if size > len(data) - place:
            raise ThriftError(f"a string of {size} bytes, of which {len(data) - place} are there")
        return data[place : place + size], place + size
    if kind == _STRUCT:
        return read_struct(data, place, depth + 1)
    if kind in (_LIST, _SET):
        return _read_list(data, place, depth)
    if kind == _MAP:
        return _read_map(data, place, depth)
    width = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}.get(kind)
    if width is None:
        raise ThriftError(f"there is no type {kind}")
    if width > len(data) - place:
        raise ThriftError("a value does not end")
    raw = data[place : place + width]
    return (raw if width == 8 else raw[0]), place + width


def _read_list(data: Bytes, place: int, depth: int) -> tuple[list[Any], int]:
    kind, size, place = read_list_head(data, place)
    if depth > _DEEPEST:
        raise ThriftError("lists are nested too deep")
    items = []
    if kind in _INTEGERS:
        for _ in range(size):
            item, place = read_signed(data, place)
            items.append(item)
        return items, place
    for _ in range(size):
        item, place = read_value(data, place, kind, depth + 1)
        items.append(item)
    return items, place


def _read_map(data: Bytes, place: int, depth: int) -> tuple[list[Any], int]:
    if depth > _DEEPEST:
        raise ThriftError("maps are nested too deep")
    size, place = read_number(data, place)
    if size == 0:
        return [], place
    if size > len(data) - place:
        raise ThriftError(f"a map of {size} entries in {len(data) - place} bytes")
    kinds, place = data[place], place + 1
    entries = []
    for _ in range(size):
        key, place = read_value(data, place, kinds >> 4, depth + 1)
        value, place = read_value(data, place, kinds & 0x0F, depth + 1)
        entries.append((key, value))
    return entries, place
