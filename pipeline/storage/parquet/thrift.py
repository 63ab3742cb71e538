"""The compact protocol of Thrift: its numbers, heads of fields and lists, and what is passed over.

Arrow's own reader ends the process when it is asked about a column whose metadata is encrypted or
broken, and it allocates what a header claims before it has seen the data. What is read here only
costs what is there: every size is held against the bytes that are left, only fields that somebody
asks for become objects, and the items of lists are counted, for a list of empty structs takes a
hundred times its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, overload

#: Structs inside structs; Parquet's own go six deep.
DEEPEST: Final = 24

#: Bytes of the longest 64-bit number.
_LONGEST_NUMBER: Final = 10

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
INTEGERS: Final = frozenset({4, 5, 6})

#: Bytes of a value that stands by itself.
_WIDTHS: Final = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}

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


@dataclass
class Items:
    """How many items of lists may still be read.

    Attributes:
        left: how many.
        most: how many there were at first, for the message.
    """

    left: int
    most: int

    @classmethod
    def up_to(cls, most: int) -> Items:
        """So many and no more."""
        return cls(most, most)

    def take(self, count: int) -> None:
        """Count the items of a list.

        Raises:
            ThriftError: there are too many in all.
        """
        self.left -= count
        if self.left < 0:
            raise ThriftError(f"its lists have more than {self.most:,} items in all")


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


def skip_value(data: Bytes, place: int, kind: int, items: Items) -> int:
    """The place after a value of a type.

    Raises:
        ThriftError: the bytes end early, there is no such type, or there are too many items.
    """
    try:
        return skip(data, place, kind, items, 0)
    except IndexError:
        raise ThriftError("a value does not end") from None


def string_at(data: Bytes, place: int) -> tuple[int, int]:
    """Where the bytes of a string begin and end."""
    size, place = read_number(data, place)
    if size > len(data) - place:
        raise ThriftError(f"a string of {size} bytes, of which {len(data) - place} are there")
    return place, place + size


def skip(data: Bytes, place: int, kind: int, items: Items, depth: int) -> int:
    """The place after a value."""
    if depth > DEEPEST:
        raise ThriftError("values are nested too deep")
    if kind in INTEGERS:
        return _skip_number(data, place)
    if kind == BINARY:
        return string_at(data, place)[1]
    if kind == STRUCT:
        while head := data[place]:
            place = place + 1 if head > 0x0F else _skip_number(data, place + 1)
            if head & 0x0F > FALSE:
                place = skip(data, place, head & 0x0F, items, depth + 1)
        return place + 1
    if kind in (LIST, SET):
        kind, size, place = read_list_head(data, place)
        items.take(size)
        if kind in _WIDTHS:
            return _within(data, place + size * _WIDTHS[kind])
        for _ in range(size):
            place = skip(data, place, kind, items, depth + 1)
        return place
    if kind == MAP:
        return _skip_map(data, place, items, depth)
    if kind not in _WIDTHS:
        raise ThriftError(f"there is no type {kind}")
    return _within(data, place + _WIDTHS[kind])


def _skip_map(data: Bytes, place: int, items: Items, depth: int) -> int:
    size, place = read_number(data, place)
    if size == 0:
        return place
    items.take(size)
    kinds, place = data[place], place + 1
    for _ in range(size):
        place = skip(data, place, kinds >> 4, items, depth + 1)
        place = skip(data, place, kinds & 0x0F, items, depth + 1)
    return place


def _skip_number(data: Bytes, place: int) -> int:
    for _ in range(_LONGEST_NUMBER):
        if data[place] < 0x80:
            return place + 1
        place += 1
    raise ThriftError("a number does not end")


def _within(data: Bytes, place: int) -> int:
    if place > len(data):
        raise ThriftError("a value does not end")
    return place
