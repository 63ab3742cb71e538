"""The bytes of text files, decompressed as they come, in blocks of whole lines."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.sources.kinds import BOM
from pipeline.storage.files import FileIdentity
from pipeline.storage.parquet.limits import refuse_expansion
from pipeline.storage.store import open_input

#: Bytes that are read, and given on, at once.
BLOCK_BYTES: Final = 4 << 20

#: A longer line is no row: it is left out, by place, without being held in memory.
MOST_LINE_BYTES: Final = 16 << 20

#: What is looked at to tell what a file is.
HEAD_BYTES: Final = 1 << 16

_MAGICS: Final = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\x28\xb5\x2f\xfd", "zstd"))


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole lines.

    Attributes:
        offset: byte of the (decompressed) file at which they begin.
        data: the lines; None: one line that is too long.
    """

    offset: int
    data: bytes | None


def compression_of(head: bytes) -> str | None:
    """How a file is compressed, by its first bytes; None: not at all."""
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


class _Decompressed:
    """A compressed file as it is read; what it unfolds to is held against a limit."""

    def __init__(
        self, file: FileIdentity, raw: BinaryIO, compression: str, max_expansion: float
    ) -> None:
        self._file, self._raw, self._limit = file, raw, max_expansion
        self._done = 0
        self._stream: Any
        if compression == "gzip":
            self._stream = gzip.GzipFile(fileobj=raw)
        elif compression == "bz2":
            self._stream = bz2.BZ2File(raw)
        else:
            self._stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compression)

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        try:
            data = bytes(self._stream.read(size))
        except EOFError as error:
            raise self._cut_off() from error
        except (zlib.error, gzip.BadGzipFile, pa.ArrowException, ValueError) as error:
            raise self._damaged(error) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the store failed, not the file
            if "truncated" in str(error).lower():
                raise self._cut_off() from error
            raise self._damaged(error) from error
        self._done += len(data)
        refuse_expansion(self._done, self._file.size, self._file.path, limit=self._limit)
        return data

    def consumed(self) -> int:
        """Stored bytes that were read, about."""
        return int(self._raw.tell())

    def _cut_off(self) -> InputContractError:
        return InputContractError(
            f"{self._file.path}: the compressed file is cut off at byte {self._file.size:,} (byte "
            f"{self._done:,} and on of its content are missing); copy or write it again"
        )

    def _damaged(self, error: Exception) -> InputContractError:
        reason = str(error).split("\n")[0].rstrip(".")
        return InputContractError(
            f"{self._file.path}: cannot be decompressed after byte {self._done:,} of its content "
            f"({reason}); copy or write it again"
        )


@contextmanager
def decompressed(
    file: FileIdentity, compression: str | None, max_expansion: float
) -> Iterator[Any]:
    """A file's content: something with ``read(size)``.

    Raises:
        InputContractError: it is another version, is damaged, or unfolds too far.
    """
    with open_input(file.path, expected=file) as raw:
        yield raw if compression is None else _Decompressed(file, raw, compression, max_expansion)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The beginning of a file.

    Attributes:
        data: its first :data:`HEAD_BYTES`, decompressed.
        compression: how it is compressed; None: not at all.
        expansion: bytes of content per stored byte, by these bytes.
    """

    data: bytes
    compression: str | None
    expansion: float


def read_head(file: FileIdentity, max_expansion: float) -> Head:
    """Look at how a file begins.

    Raises:
        InputContractError: it is compressed and damaged.
    """
    with open_input(file.path, expected=file) as raw:
        data = raw.read(HEAD_BYTES)
        compression = compression_of(data)
        if compression is None:
            return Head(data=data, compression=None, expansion=1.0)
        raw.seek(0)
        stream = _Decompressed(file, raw, compression, max_expansion)
        data = stream.read(HEAD_BYTES)
        # Readers fill buffers ahead, so a small file counts as read to its end.
        more = stream.read(1 << 20)
        stored = max(1, min(stream.consumed(), file.size))
        return Head(data=data, compression=compression, expansion=(len(data) + len(more)) / stored)


def line_blocks(
    file: FileIdentity, compression: str | None, max_expansion: float, start: int, stop: int
) -> Iterator[Block]:
    """The lines that begin in bytes ``[start, stop)``; of a compressed file all of them.

    Raises:
        InputContractError: see :func:`decompressed`.
    """
    with decompressed(file, compression, max_expansion) as source:
        if compression is not None:
            yield from _lines(source, bytearray(), 0, None)
            return
        if start == 0:
            yield from _lines(source, bytearray(), 0, stop)
            return
        # A line that begins at ``start`` is ours: the byte before it ends another.
        source.seek(start - 1)
        rest, offset = _after_line(source, bytearray(), start - 1)
        if offset < stop:
            yield from _lines(source, rest, offset, stop)


def _lines(source: Any, buffer: bytearray, offset: int, stop: int | None) -> Iterator[Block]:
    """Blocks from ``offset``, where a line begins; the last line is one that begins by ``stop``."""
    while True:
        end = -1
        if stop is not None and offset + len(buffer) >= stop:
            end = buffer.find(b"\n", max(0, stop - 1 - offset))
            if end >= 0:
                yield from _block(buffer, end + 1, offset)
                return
        cut = buffer.rfind(b"\n") + 1
        if cut:
            yield from _block(buffer, cut, offset)
            del buffer[:cut]
            offset += cut
        if len(buffer) > MOST_LINE_BYTES:
            yield Block(offset=offset, data=None)
            buffer, offset = _after_line(source, buffer, offset)
            if stop is not None and offset >= stop:
                return
            continue
        data = source.read(BLOCK_BYTES)
        if not data:
            if buffer:
                yield from _block(buffer, len(buffer), offset)
            return
        buffer += data


def _block(buffer: bytearray, length: int, offset: int) -> Iterator[Block]:
    data = bytes(buffer[:length])
    if offset == 0 and data.startswith(BOM):
        data, offset = data[len(BOM) :], len(BOM)
    yield Block(offset=offset, data=data)


def _after_line(source: Any, buffer: bytearray, offset: int) -> tuple[bytearray, int]:
    """What follows the line that ``buffer`` is in, and where it begins; nothing at the end."""
    while True:
        end = buffer.find(b"\n")
        if end >= 0:
            return buffer[end + 1 :], offset + end + 1
        offset += len(buffer)
        buffer = bytearray(source.read(BLOCK_BYTES))
        if not buffer:
            return buffer, offset
