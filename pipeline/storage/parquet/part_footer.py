"""The footer of a part of a column chunk, as if some of its pages were a whole file.

Arrow has no way to begin in the middle of a row group. So its pages are handed to it as a file of
one row group, whose footer is written here: schema, metadata and writer are those of the file, and
of the columns only one has pages. Field ids are those of parquet.thrift, the encoding is Thrift's
compact protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.storage.parquet.footer import MOST_ITEMS, ParquetFooter
from pipeline.storage.parquet.thrift import Items, read_field, skip_value

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

#: Encodings that a reader may find; Arrow takes them from the pages themselves.
_ENCODINGS: Final = (0, 3)

#: Where the pages begin: behind the magic number.
PAGES_AT: Final = 4


def part_footer(
    footer: ParquetFooter, place: int, *, dictionary: int, size: int, values: int, rows: int,
    codec: int,
) -> ParquetFooter:  # fmt: skip
    """The footer of a file that holds one dictionary and some data pages of one column.

    Args:
        footer: of the whole file.
        place: the column among its leaves.
        dictionary: bytes of the dictionary, which comes first; 0 without one.
        size: bytes of all pages.
        values: values of the data pages.
        rows: rows of them.
        codec: how they are compressed.
    """
    count = len(footer.leaves)
    chunks = []
    for number, leaf in enumerate(footer.leaves):
        of_this = number == place
        about = [
            (1, _I32, _signed(leaf.physical)),
            (2, _LIST, _list(_I32, [_signed(one) for one in _ENCODINGS])),
            (3, _LIST, _list(_BINARY, [_bytes(name.encode()) for name in leaf.path])),
            (4, _I32, _signed(codec if of_this else 0)),
            (5, _I64, _signed(values if of_this else rows)),
            (6, _I64, _signed(size if of_this else 0)),
            (7, _I64, _signed(size if of_this else 0)),
            (9, _I64, _signed(PAGES_AT + (dictionary if of_this else 0))),
        ]
        if of_this and dictionary:
            about.append((11, _I64, _signed(PAGES_AT)))
        chunks.append(_struct([(2, _I64, _signed(0)), (3, _STRUCT, _struct(about))]))
    group = _struct(
        [(1, _LIST, _list(_STRUCT, chunks)), (2, _I64, _signed(size)), (3, _I64, _signed(rows))]
    )
    kept = _raw_fields(footer.plain)
    fields = [
        (1, _I32, kept.get(1, _signed(2))),
        (2, _LIST, kept[2]),
        (3, _I64, _signed(rows)),
        (4, _LIST, _list(_STRUCT, [group])),
        *((number, kind, kept[number]) for number, kind in ((5, _LIST), (6, _BINARY))
          if number in kept),
    ]  # fmt: skip

    def of_one(value: int, others: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        made = np.full((1, count), others, dtype=np.int64)
        made[0, place] = value
        return made

    return ParquetFooter(
        plain=_struct(fields), leaves=footer.leaves, rows=np.array([rows], dtype=np.int64),
        starts=of_one(PAGES_AT, PAGES_AT), stored=of_one(size, 0), unpacked=of_one(size, 0),
        values=of_one(values, rows), codecs=of_one(codec, 0),
        index_starts=of_one(0, 0), index_sizes=of_one(0, 0),
    )  # fmt: skip


def _raw_fields(data: bytes) -> dict[int, bytes]:
    """The encoded values of a footer's own fields, row groups left out."""
    found: dict[int, bytes] = {}
    items = Items.up_to(MOST_ITEMS)
    last = place = 0
    while True:
        last, kind, start = read_field(data, place, last)
        if kind == 0 or last > 6:
            return found
        place = start if kind in (1, 2) else skip_value(data, start, kind, items)
        if last != 4:
            found[last] = data[start:place]


def _struct(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Fields (id, type, value) in the order of their ids, each at most 15 above the one before."""
    made, last = bytearray(), 0
    for number, kind, value in fields:
        made.append((number - last) << 4 | kind)
        made += value
        last = number
    return bytes(made) + b"\0"


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    head = bytes([len(items) << 4 | kind]) if len(items) < 15 else (
        bytes([0xF0 | kind]) + _number(len(items))
    )  # fmt: skip
    return head + b"".join(items)


def _bytes(value: bytes) -> bytes:
    return _number(len(value)) + value


def _signed(value: int) -> bytes:
    return _number(value << 1 if value >= 0 else ((-value) << 1) - 1)


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
