"""What an Arrow schema in IPC form becomes when it is read, found out without reading it.

A flatbuffer holds tables by offset, and nothing keeps two places from naming one table: a schema of
a few hundred bytes can be one of a million fields, each with a name of its own. Arrow's verifier
counts tables, eight for each byte, and no texts.

Numbers of slots are those of Arrow's Message.fbs and Schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

#: Bytes that Arrow, and Python over it, take for a field or an entry of metadata without its text.
_EACH: Final = 1_000

_MESSAGE_HEADER: Final = 2
_SCHEMA_FIELDS, _SCHEMA_METADATA = 1, 2
_NAME, _TYPE, _CHILDREN, _METADATA = 0, 3, 5, 6

#: Slots of a type's table that may hold a text or a vector: a timestamp's zone, a union's ids.
_OF_TYPE: Final = (0, 1)


def unfolded_size(message: bytes, most: int) -> int:
    """Bytes that a schema takes in memory, roughly; counting ends above ``most``.

    Raises:
        ValueError: it is no schema.
    """
    try:
        return _unfolded_size(message, most)
    except (struct.error, IndexError) as error:
        raise ValueError(str(error)) from None


def _unfolded_size(message: bytes, most: int) -> int:
    # Messages begin with a continuation mark and their length; old ones with their length alone.
    start = 8 if message[:4] == b"\xff\xff\xff\xff" else 4
    root = start + _unsigned(message, start)
    schema = _table(message, root, _MESSAGE_HEADER)
    if schema is None:
        return 0
    size = _metadata_size(message, schema, _SCHEMA_METADATA, most)
    waiting = [_vector(message, schema, _SCHEMA_FIELDS)]
    while waiting and size <= most:
        for field in waiting.pop():
            size += _EACH + _text_size(message, field, _NAME)
            size += _metadata_size(message, field, _METADATA, most)
            kind = _table(message, field, _TYPE)
            if kind is not None:
                size += sum(_text_size(message, kind, slot) for slot in _OF_TYPE)
            waiting.append(_vector(message, field, _CHILDREN))
            if size > most:
                break
    return size


def _metadata_size(message: bytes, table: int, slot: int, most: int) -> int:
    size = 0
    for entry in _vector(message, table, slot):
        size += _EACH + _text_size(message, entry, 0) + _text_size(message, entry, 1)
        if size > most:
            break
    return size


def _text_size(message: bytes, table: int, slot: int) -> int:
    """Bytes of a text or numbers of a vector; what is neither counts with what its bytes say."""
    place = _slot(message, table, slot)
    if place is None or place + 4 > len(message):
        return 0
    target = place + _unsigned(message, place)
    if target + 4 > len(message):
        return 0  # no offset
    size = _unsigned(message, target)
    return size if size <= len(message) - target else 0


def _vector(message: bytes, table: int, slot: int) -> Iterator[int]:
    """The tables of a vector."""
    place = _slot(message, table, slot)
    if place is None:
        return
    vector = place + _unsigned(message, place)
    for item in range(_unsigned(message, vector)):
        at = vector + 4 + 4 * item
        yield at + _unsigned(message, at)


def _table(message: bytes, table: int, slot: int) -> int | None:
    place = _slot(message, table, slot)
    return None if place is None else place + _unsigned(message, place)


def _slot(message: bytes, table: int, slot: int) -> int | None:
    """Where a field of a table lies; None where it has none."""
    (back,) = struct.unpack_from("<i", message, table)
    vtable = table - back
    if vtable < 0:
        raise ValueError("a table's fields lie before the message")
    (size,) = struct.unpack_from("<H", message, vtable)
    if 4 + 2 * slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", message, vtable + 4 + 2 * slot)
    return table + offset if offset else None


def _unsigned(message: bytes, place: int) -> int:
    (value,) = struct.unpack_from("<I", message, place)
    return int(value)
