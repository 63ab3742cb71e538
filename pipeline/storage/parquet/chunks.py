"""The stored bytes of a row group, held in memory, as the file that Arrow reads from.

What is judged is then what is decoded, and an object store is asked once.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO, Final, cast, overload

from pipeline.storage.parquet.footer import FooterError

#: Ranges that are nearer than this are read together.
_HOLE = 2**16


#: Ranges of more bytes together are not held in memory, but read when they are asked for.
_MOST_HELD: Final = 128 * 2**20

#: What is read at once of ranges that are not held.
WINDOW: Final = 2**20


class StoredChunks(io.RawIOBase):
    """A reader over some ranges of a file; anything else is read from the file itself.

    Attributes:
        held: whether the ranges are in memory. Large ones are not: they are read once to be judged
            and once more to be decoded, between which nobody may write to the file
            (:mod:`pipeline.candidates.unchanged` sees to that).
    """

    def __init__(
        self, source: BinaryIO | None, ranges: Sequence[tuple[int, int]], size: int
    ) -> None:
        """Read ranges ``[start, stop)``.

        Raises:
            FooterError: the file ends before one of them does.
        """
        super().__init__()
        self._source = source
        self._size = size
        self._position = 0
        self._starts: list[int] = []
        self._pieces: list[bytes] = []
        self.held = sum(stop - start for start, stop in ranges) <= _MOST_HELD
        if source is None or not self.held:
            return
        for start, stop in _joined(ranges):
            source.seek(start)
            self._starts.append(start)
            self._pieces.append(_read_all(source, stop - start))

    @classmethod
    def of(cls, data: bytes) -> StoredChunks:
        """A whole file that is in memory."""
        chunks = cls(None, (), len(data))
        chunks._starts, chunks._pieces = [0], [data]
        return chunks

    def chunk(self, start: int, stop: int) -> bytes | memoryview | Window:
        """Bytes ``[start, stop)``, looked at through a window where they are not held."""
        if self.held or self._source is None:
            return self.piece(start, stop)
        return Window(self._source, start, stop)

    def piece(self, start: int, stop: int) -> bytes | memoryview:
        """Bytes ``[start, stop)``."""
        place = bisect_right(self._starts, start) - 1
        if place >= 0:
            data, first = self._pieces[place], start - self._starts[place]
            if first == 0 and stop - start == len(data):
                return data
            if first + stop - start <= len(data):
                return memoryview(data)[first : first + stop - start]
        if self._source is None:
            return b""
        self._source.seek(start)
        return self._source.read(stop - start)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; returns it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes from the position on, as a view where they are in memory."""
        start = self._position
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        data = self.piece(start, stop) if stop > start else b""
        self._position += len(data)
        return cast(bytes, data)  # Arrow takes any buffer, and copies none

    def readall(self) -> bytes:
        """All bytes from the position on."""
        return self.read()


class Window:
    """A range of a file that is used like its bytes, of which only some are in memory."""

    def __init__(self, source: BinaryIO, start: int, stop: int) -> None:
        self._source, self._start, self._size = source, start, stop - start
        self._first, self._data = 0, b""

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, wanted: int) -> int: ...

    @overload
    def __getitem__(self, wanted: slice) -> bytes: ...

    def __getitem__(self, wanted: int | slice) -> int | bytes:
        if isinstance(wanted, slice):
            start, stop, _ = wanted.indices(self._size)
            self._hold(start, max(start, stop))
            return self._data[start - self._first : stop - self._first]
        if not 0 <= wanted < self._size:
            raise IndexError(wanted)
        self._hold(wanted, wanted + 1)
        return self._data[wanted - self._first]

    def _hold(self, start: int, stop: int) -> None:
        if self._first <= start and stop <= self._first + len(self._data):
            return
        self._source.seek(self._start + start)
        size = max(stop - start, min(WINDOW, self._size - start))
        self._first, self._data = start, _read_all(self._source, size)


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1] + _HOLE:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _read_all(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            raise FooterError("the file ends before its columns do")
        data += more
    return data
