"""The stored bytes of a row group, held in memory, as the file that Arrow reads from.

What is judged is then what is decoded, and an object store is asked once.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO, cast

from pipeline.storage.parquet.footer import FooterError

#: Ranges that are nearer than this are read together.
_HOLE = 2**16


class StoredChunks(io.RawIOBase):
    """A reader over some ranges of a file; anything else is read from the file itself."""

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
        if source is None:
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
