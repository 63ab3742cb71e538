"""A seekable file over a store that answers byte ranges."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast

#: A request costs as much time as this many bytes or more, so no smaller piece is asked for.
_LEAST = 1 << 20


def ranged_reader(name: str, size: int, fetch: Callable[[int, int], bytes]) -> BinaryIO:
    """A reader that keeps the last piece it fetched for what follows it.

    Parquet is read as a footer and then whole column chunks, so a piece is as long as what was
    asked for, and small reads (a header, the rows of a small file) share one.

    Args:
        name: path, for ``name`` of the file and for messages.
        size: bytes of the file.
        fetch: gives bytes ``[start, stop)`` of it.
    """
    return cast(BinaryIO, _RangedReader(name, size, fetch))


class _RangedReader(io.RawIOBase):
    def __init__(self, name: str, size: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self.name = name
        self._size = size
        self._fetch = fetch
        self._position = 0
        self._piece = b""
        self._piece_start = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        start = self._position
        stop = self._size if size is None or size < 0 else min(start + size, self._size)
        if stop <= start:
            return b""
        if not self._holds(start, stop):
            self._piece = self._fetch(start, min(max(stop, start + _LEAST), self._size))
            self._piece_start = start
        self._position = stop
        first = start - self._piece_start
        return self._piece[first : first + stop - start]

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _holds(self, start: int, stop: int) -> bool:
        return self._piece_start <= start and stop <= self._piece_start + len(self._piece)
