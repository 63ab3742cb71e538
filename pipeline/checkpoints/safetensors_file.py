"""A safetensors file read from front to back, hashed by the bytes that become tensors.

The library maps a file into memory, where what was hashed before may be written to before it is
copied. Here every byte is read once, into the tensor that it is a part of and into the hash, so a
digest that fits says of the very tensors that were handed out what they are. The layout is that of
https://huggingface.co/docs/safetensors: eight bytes with the length of a header, the header in
JSON, and the tensors' data without gaps.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.checkpoints.checkpoint_files import sha256_of
from pipeline.errors import ModelError

if TYPE_CHECKING:
    import torch

#: The format's names of number types and torch's (``safetensors.torch._TYPES``).
_DTYPES: Final = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
}  # fmt: skip

#: Bytes of a number, by torch's name: whoever asks for sizes alone need not import torch.
_BYTES: Final = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "complex64": 8,
}  # fmt: skip

#: The library's own limit of a header.
_LONGEST_HEADER: Final = 100_000_000

#: The most that sizes may come to, multiplied; torch counts in int64.
_LARGEST: Final = 2**63 - 1

#: Bytes that are read and hashed at once.
_CHUNK: Final = 16 << 20

#: Files that are read at once, a tensor of each ahead of the one that is used.
_FILES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tensor as the header describes it.

    Attributes:
        name: as stored.
        dtype: torch's name of its number type.
        shape: its sizes.
        start: first byte in the data.
        stop: byte after the last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_entries(path: Path) -> list[Entry]:
    """What a file holds, by its header alone, in the order of the data.

    Raises:
        ModelError: it is no safetensors file.
    """
    try:
        with _opened(path) as file:
            return _Reader(path, file).entries
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def read_files(files: Sequence[tuple[Path, str | None]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of several files, on the CPU, in its stored dtype; files take turns.

    Args:
        files: paths, each with its expected hex sha256, or None where any content will do.

    Raises:
        ModelError: a file is damaged, its content is not the expected one, or two of them hold a
            tensor of one name. It may show after tensors were given out: none may be used before
            the iterator ends.
    """
    found_in: dict[str, Path] = {}
    waiting = deque((path, _read_ahead(path, expected)) for path, expected in files)
    turns: deque[tuple[Path, Iterator[tuple[str, torch.Tensor]]]] = deque()
    while waiting or turns:
        while waiting and len(turns) < _FILES:
            turns.append(waiting.popleft())
        path, current = turns.popleft()
        found = next(current, None)
        if found is not None:
            other = found_in.setdefault(found[0], path)
            if other != path:
                raise ModelError(
                    f"{path}: tensor '{found[0]}' is in {other.name} as well, and which of them "
                    "counts is not said; keep the files of one checkpoint only in the folder"
                )
            yield found
            turns.append((path, current))


def _read_ahead(path: Path, expected: str | None) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of one file; while one is used, the next is read and hashed."""
    try:
        with _opened(path) as file, ThreadPoolExecutor(1) as thread:
            reader = _Reader(path, file, hashed=expected is not None)
            coming = [thread.submit(reader.read, entry) for entry in reader.entries[:1]]
            for place, entry in enumerate(reader.entries):
                tensor = coming.pop().result()
                if place + 1 < len(reader.entries):
                    coming.append(thread.submit(reader.read, reader.entries[place + 1]))
                yield entry.name, tensor
            reader.finish()
            if expected is not None and reader.digest != expected:
                raise other_content(path, expected, reader.digest)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    except _UnreadableError:
        # Damaged, or overwritten since: the latter is what there is something to do about.
        found = None if expected is None else sha256_of(path)
        if expected is None or found is None or found == expected:
            raise
        raise other_content(path, expected, found) from None


def _opened(path: Path) -> io.FileIO:
    if path.exists() and not path.is_file():  # opening a pipe waits for somebody to write
        raise ModelError(f"{path}: is no regular file; fetch the checkpoint again")
    return path.open("rb", buffering=0)


class _UnreadableError(ModelError):
    """The bytes are not laid out as the format has it."""


def other_content(path: object, expected: str, found: str) -> ModelError:
    """The error for a file of a checkpoint that is not the one that a run was planned with."""
    return ModelError(
        f"{path}: not the file that the run was planned with (sha256 is {found}, expected "
        f"{expected}). Put that file back, or start the job anew: other weights are another run"
    )


def _sizes(name: str, numbers: Any) -> tuple[int, ...]:
    """Sizes or places, as whole numbers that a tensor can have."""
    if not all(type(number) is int and number >= 0 for number in numbers) or (
        math.prod(number or 1 for number in numbers) > _LARGEST
    ):
        raise ValueError(f"{name} {numbers}")
    return tuple(numbers)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of the header, where JSON would let the last of equal names win."""
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice}' is there twice")
    return table


class _Reader:
    """One pass over an open file."""

    def __init__(self, path: Path, file: io.FileIO, *, hashed: bool = False) -> None:
        self._path, self._file = path, file
        self._hash = hashlib.sha256() if hashed else None
        length = int.from_bytes(self._bytes(8), "little")
        if length > _LONGEST_HEADER:
            raise self._unreadable(f"a header of {length} bytes")
        self.entries = self._parse(self._bytes(length))

    @property
    def digest(self) -> str:
        """Hex sha256 of what was read."""
        return "" if self._hash is None else self._hash.hexdigest()

    def read(self, entry: Entry) -> torch.Tensor:
        """The next tensor."""
        import torch

        data = torch.empty(entry.stop - entry.start, dtype=torch.uint8)
        self._fill(data.numpy().data)
        return data.view(getattr(torch, entry.dtype)).reshape(entry.shape)

    def finish(self) -> None:
        """Refuse bytes behind the last tensor."""
        if self._file.read(1):
            raise self._unreadable("bytes follow the last tensor")

    def _bytes(self, length: int) -> bytes:
        data = bytearray(length)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            count = self._file.readinto(view[done : done + _CHUNK])
            if not count:
                raise self._unreadable("the file is cut off")
            if self._hash is not None:
                self._hash.update(view[done : done + count])
            done += count

    def _parse(self, header: bytes) -> list[Entry]:
        try:
            described: dict[str, Any] = json.loads(header, object_pairs_hook=_each_once)
            entries = [
                Entry(
                    name=name,
                    dtype=_DTYPES[entry["dtype"]],
                    shape=_sizes("shape", entry["shape"]),
                    start=start,
                    stop=stop,
                )
                for name, entry in described.items()
                if name != "__metadata__"
                for start, stop in [_sizes("data_offsets", entry["data_offsets"])]
            ]
            entries.sort(key=lambda entry: (entry.start, entry.stop))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._unreadable(f"header: {type(error).__name__}: {error}") from None
        self._refuse_gaps(entries)
        return entries

    def _refuse_gaps(self, entries: list[Entry]) -> None:
        end = 0
        for entry in entries:
            size = math.prod(entry.shape) * _BYTES[entry.dtype]
            if entry.start != end or entry.stop - entry.start != size:
                raise self._unreadable(f"tensor '{entry.name}' does not lie where it must")
            end = entry.stop
        if os.fstat(self._file.fileno()).st_size < self._file.tell() + end:
            raise self._unreadable("the file is cut off")  # before memory is taken for its tensors

    def _unreadable(self, why: str) -> ModelError:
        return _UnreadableError(
            f"{self._path}: not readable as safetensors: {why}; the file is damaged or of another "
            "format: fetch it again"
        )
