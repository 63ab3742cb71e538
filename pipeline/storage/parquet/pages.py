"""What the pages of a column chunk become when they are decoded, found out without decoding them.

A page says in its header how many values it has and how many bytes it decompresses to; a footer
says so as well, but nothing holds it to that. Bytes multiply in three ways: by compression, by a
dictionary whose values are referred to, and by values that repeat the beginning of the one before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.storage.parquet.footer import BYTE_ARRAY, Leaf
from pipeline.storage.parquet.thrift import (
    Bytes,
    Held,
    Items,
    ThriftError,
    read_number,
    read_signed,
)
from pipeline.storage.parquet.thrift_structs import (
    PLAIN,
    Fields,
    Shape,
    integer,
    read_struct,
    struct,
)

#: Pages of one column chunk; each has at least a header.
MOST_PAGES: Final = 1_000_000

#: Ids of parquet.thrift.
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_PLAIN_DICTIONARY, _RLE_DICTIONARY, _DELTA_BYTE_ARRAY = 2, 8, 7
_BIT_PACKED: Final = 4
_CODECS: Final = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

#: What is read of a page header: its kind and sizes, and of a data page of either version its
#: values, rows, encodings, sizes of levels, and whether these stand apart from what is compressed.
HEADER: Final[Shape] = {
    1: PLAIN, 2: PLAIN, 3: PLAIN,
    5: {1: PLAIN, 2: PLAIN, 3: PLAIN, 4: PLAIN},
    8: {1: PLAIN, 3: PLAIN, 4: PLAIN, 5: PLAIN, 6: PLAIN, 7: PLAIN},
}  # fmt: skip

#: Items of lists in one page header, where Parquet has none.
MOST_HEADER_ITEMS: Final = 1_000

#: A page whose values cannot repeat more than this in all is not looked into.
_LITTLE: Final = 2**16

#: A page that is larger is not decompressed to look into it.
_LARGE: Final = 64 * 2**20


#: Longest values by the digest of a stored dictionary page.
_LONGEST_OF: Final[dict[bytes, int]] = {}
_REMEMBERED: Final = 4096


@dataclass(frozen=True, kw_only=True)
class ChunkPages:
    """The pages of one column chunk.

    Attributes:
        values: values of all data pages, nulls among them.
        rows: rows of all data pages; None where a page does not say it, as those of version 1.
        unpacked: bytes of all pages when decompressed.
        largest: bytes of the largest page when decompressed.
        dictionary: bytes of the dictionary page when decompressed; 0 without one.
        coded: values that refer to the dictionary.
        longest: bytes of its longest value, or more where it was not looked into.
        repeated: bytes that values share with the ones before them, written once.
    """

    values: int
    rows: int | None
    unpacked: int
    largest: int
    dictionary: int
    coded: int
    longest: int
    repeated: int


def walk_pages(data: Bytes, values: int, leaf: Leaf, codec: int) -> ChunkPages:
    """Read the page headers of a column chunk.

    Args:
        data: the chunk.
        values: how many values the footer says that it has; what comes after them is not read.
        leaf: its column.
        codec: how its pages are compressed, as the footer says.

    Raises:
        ThriftError: a header is damaged, or there are too many.
    """
    place = found = unpacked = largest = dictionary = coded = longest = repeated = 0
    rows: int | None = 0
    words: Held = b""
    for _ in range(MOST_PAGES):
        if found >= values or place >= len(data):
            break
        header, place = read_struct(data, place, HEADER, Items.up_to(MOST_HEADER_ITEMS))
        size, packed = integer(header, 2), integer(header, 3)
        if size < 0 or not 0 <= packed <= len(data) - place:
            raise ThriftError("a page header holds a size that cannot be")
        unpacked += size
        largest = max(largest, size)
        if header.get(1) == _DICTIONARY:
            dictionary, words = size, data[place : place + packed]
        about = data_page(header)
        if about:
            count, encoding = about
            found += count
            said = header[8].get(3) if header.get(1) == _DATA_V2 else None
            rows = rows + said if rows is not None and isinstance(said, int) else None
            if encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
                coded += count
            elif encoding == _DELTA_BYTE_ARRAY and leaf.physical == BYTE_ARRAY:
                page = data[place : place + packed]
                repeated += _repeated(page, header, count, leaf, codec)
        place += packed
    else:
        raise ThriftError(f"a column chunk has more than {MOST_PAGES} pages")
    if coded and leaf.physical == BYTE_ARRAY:
        little = coded * dictionary <= _LITTLE
        longest = dictionary if little else _longest(words, dictionary, codec)
    return ChunkPages(
        values=found, rows=rows, unpacked=unpacked, largest=largest, dictionary=dictionary,
        coded=coded, longest=longest, repeated=repeated,
    )  # fmt: skip


def data_page(header: Fields) -> tuple[int, int] | None:
    """Values and encoding of a data page; None for any other page."""
    kind = header.get(1)
    if kind not in (_DATA, _DATA_V2):
        return None
    about = struct(header, 5 if kind == _DATA else 8)
    count, encoding = integer(about, 1), integer(about, 2 if kind == _DATA else 4)
    if count < 0:
        raise ThriftError("a page header holds a size that cannot be")
    return count, encoding


def _longest(page: Held, size: int, codec: int) -> int:
    """Held of the longest value of a dictionary page."""
    if size > _LARGE:
        return size
    # A row group is read once for every unit that it holds, and its dictionaries with it.
    name = hashlib.blake2b(page, digest_size=16, key=bytes([codec])).digest()
    known = _LONGEST_OF.get(name)
    if known is None:
        if len(_LONGEST_OF) >= _REMEMBERED:
            _LONGEST_OF.clear()
        known = _LONGEST_OF[name] = _look_for_longest(page, size, codec)
    return known


def _look_for_longest(page: Held, size: int, codec: int) -> int:
    try:
        words = _decompress(page, size, codec)
    except (pa.ArrowException, OSError, ValueError):
        return size
    if words is None:
        return size
    place = longest = 0
    end = len(words) - 4
    while place <= end:
        length = int.from_bytes(words[place : place + 4], "little")
        if length > longest:
            longest = length
        place += 4 + length
    return longest


def _repeated(page: Held, header: Fields, count: int, leaf: Leaf, codec: int) -> int:
    """Held that the values of a page take from the ones before them."""
    size = int(header[2])
    most = count * size  # a value is no longer than all that was written before it
    if most <= _LITTLE or size > _LARGE:
        return most
    try:
        body = _values_of(page, header, leaf, codec)
        return most if body is None else _sum_of_deltas(body, count)
    except (pa.ArrowException, OSError, IndexError, ValueError):
        return most


def _values_of(page: Held, header: Fields, leaf: Leaf, codec: int) -> Held | None:
    """The encoded values of a page behind its levels; None where those cannot be skipped."""
    if header[1] == _DATA_V2:
        about = header[8]
        levels = integer(about, 5, 0) + integer(about, 6, 0)
        body = page[levels:]
        if not about.get(7, True):
            return body
        return _decompress(body, header[2] - levels, codec)
    about = header[5]
    unpacked = _decompress(page, header[2], codec)
    if unpacked is None:
        return None
    place = 0
    both = ((leaf.max_repetition, about.get(4)), (leaf.max_definition, about.get(3)))
    for most, encoding in both:
        if most:
            if encoding == _BIT_PACKED:
                return None
            place += 4 + int.from_bytes(unpacked[place : place + 4], "little")
    return unpacked[place:]


def _decompress(data: Held, size: int, codec: int) -> Held | None:
    if codec == 0:
        return data
    if codec not in _CODECS:
        return None
    done: bytes = pa.Codec(_CODECS[codec]).decompress(data, size, asbytes=True)
    return done


def _sum_of_deltas(data: Held, most: int) -> int:
    """Sum of the numbers at the start of ``data``, encoded as DELTA_BINARY_PACKED.

    Raises:
        ValueError: there are more than ``most``, or the bytes are damaged.
    """
    block, place = read_number(data, 0)
    parts, place = read_number(data, place)
    count, place = read_number(data, place)
    first, place = read_signed(data, place)
    if count > most or not parts or block % parts or block // parts % 32 or block > 2**20:
        raise ValueError("no such block")
    deltas = [np.array([first], dtype=np.int64)]
    left = count - 1
    while left > 0:
        smallest, place = read_signed(data, place)
        widths, place = data[place : place + parts], place + parts
        for width in widths:
            if left <= 0:
                break
            packed = np.zeros(block // parts, np.int64)
            if width:
                size = width * (block // parts) // 8
                raw = np.frombuffer(data, np.uint8, size, place)
                bits = np.unpackbits(raw, bitorder="little").reshape(-1, width)
                packed = bits.astype(np.int64) @ (1 << np.arange(width))
                place += size
            deltas.append(packed[:left] + smallest)
            left -= block // parts
    return int(np.cumsum(np.concatenate(deltas)[:count]).sum())
