"""Thrift's compact protocol, read into a tree that can be changed and written again.

The product's own reader keeps what it needs and no types; hostile footers are made of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.storage.parquet.thrift import read_field, read_list_head, read_number, read_signed

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


@dataclass
class Items:
    """A list: type of its items, and the items."""

    kind: int
    items: list[Any] = field(default_factory=list)


@dataclass
class Tree:
    """A struct: type and value of each field by its id."""

    fields: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def __getitem__(self, identifier: int) -> Any:
        return self.fields[identifier][1]

    def set(self, identifier: int, kind: int, value: Any) -> None:
        """Set a field, or add it."""
        self.fields[identifier] = (kind, value)

    def change(self, identifier: int, value: Any) -> None:
        """Another value of the same type."""
        self.fields[identifier] = (self.fields[identifier][0], value)


def parsed(data: bytes, place: int = 0) -> tuple[Tree, int]:
    """The struct that begins at ``place``, and the place after it."""
    tree, last = Tree(), 0
    while True:
        last, kind, place = read_field(data, place, last)
        if kind == 0:
            return tree, place
        value, place = (kind, place) if kind in (TRUE, FALSE) else _value(data, place, kind)
        tree.fields[last] = (kind, value)


def written(tree: Tree) -> bytes:
    """The bytes of a struct."""
    out, last = bytearray(), 0
    for identifier, (kind, value) in sorted(tree.fields.items()):
        step = identifier - last
        out += bytes([step << 4 | kind]) if 0 < step < 16 else bytes([kind]) + signed(identifier)
        out += b"" if kind in (TRUE, FALSE) else _bytes(kind, value)
        last = identifier
    return bytes(out) + b"\0"


def number(value: int) -> bytes:
    """An unsigned number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value: int) -> bytes:
    """A signed number of 64 bits."""
    return number((value << 1 ^ value >> 63) & (2**64 - 1))


def list_head(kind: int, size: int) -> bytes:
    """What stands before the items of a list."""
    return bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + number(size)


def _value(data: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (I16, I32, I64):
        return read_signed(data, place)
    if kind == BINARY:
        size, place = read_number(data, place)
        return data[place : place + size], place + size
    if kind == STRUCT:
        return parsed(data, place)
    if kind in (LIST, SET):
        of, size, place = read_list_head(data, place)
        items = Items(of)
        for _ in range(size):
            item, place = _value(data, place, of)
            items.items.append(item)
        return items, place
    width = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}[kind]
    return data[place : place + width], place + width


def _bytes(kind: int, value: Any) -> bytes:
    if kind in (I16, I32, I64):
        return signed(value)
    if kind == BINARY:
        return number(len(value)) + value
    if kind == STRUCT:
        return written(value)
    if kind in (LIST, SET):
        return list_head(value.kind, len(value.items)) + b"".join(
            _bytes(value.kind, item) for item in value.items
        )
    return bytes(value)
