"""What identifies the content of a file where its store has no version for it.

A file of up to a stated size is hashed whole. Of a larger one the Parquet footer and blocks spread
over the file are, and what its store says of it (times, inode) joins them, for a change between the
blocks would not show otherwise. Bytes read at once are few; the cost is that of reading.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import BinaryIO, Final

from pipeline.errors import InputContractError, NotFoundError
from pipeline.storage.backend import Backend
from pipeline.storage.files import FileIdentity

_WHOLE: Final = "sha256:"
_SAMPLED: Final = "sampled:"

_CHUNK: Final = 1 << 20
_BLOCK: Final = 64 << 10
_BLOCKS: Final = 64

#: Last bytes of a Parquet file: length of the footer, little-endian, and a magic number
#: (https://parquet.apache.org/docs/file-format/).
_ENDING: Final = 8
_LONGEST_FOOTER: Final = 16 << 20

#: How often a file that is written to meanwhile is looked at.
_LOOKS: Final = 3


def is_whole_hash(version: str) -> bool:
    """Whether a version is the hash of a whole content."""
    return version.startswith(_WHOLE)


def hash_whole(file: BinaryIO) -> str:
    """The version of a file by all of its bytes; ends at its end."""
    file.seek(0)
    total, buffer = hashlib.sha256(), bytearray(_CHUNK)
    view = memoryview(buffer)
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        total.update(view[:count])
    return f"{_WHOLE}{total.hexdigest()}"


def hash_sampled(file: BinaryIO, size: int, token: str) -> str:
    """The version of a large file by its footer, :data:`_BLOCKS` blocks, size and token."""
    total = hashlib.sha256(f"{size} {token}\n".encode())
    file.seek(max(0, size - _ENDING))
    footer = int.from_bytes(file.read(_ENDING)[:4], "little")
    starts = [(size - _BLOCK) * place // (_BLOCKS - 1) for place in range(_BLOCKS)]
    pieces = [(max(0, start), _BLOCK) for start in starts]
    pieces.append((max(0, size - _ENDING - footer), min(footer, _LONGEST_FOOTER)))
    for start, length in pieces:
        file.seek(start)
        total.update(file.read(length))
    return f"{_SAMPLED}{total.hexdigest()}"


def identify_content(store: Backend, path: str, *, whole_bytes: int) -> FileIdentity:
    """The file at ``path`` with a version that stands for its content.

    Args:
        store: where it is.
        path: its full name there.
        whole_bytes: the largest size that is hashed whole.

    Raises:
        NotFoundError: it is gone.
        InputContractError: it is written to all the time, or is too large for a store that says
            nothing of it but its size.
    """
    for _ in range(_LOOKS):
        before = store.settled(path)
        source = None if before is None else store.open(path, None)
        if before is None or source is None:
            raise NotFoundError(f"{path}: cannot be opened: no such file")
        if before.strong:
            source.close()
            return before
        if before.size > whole_bytes and not before.token:
            raise InputContractError(
                f"{path}: {before.size:,} bytes at a store that names neither a version nor a time "
                "of change, so a change would not be noticed; copy it to a disk, s3:// or gs://, "
                f"or raise input.hash_mib (now {whole_bytes / 2**20:g})"
            )
        with source:
            if before.size <= whole_bytes:
                version = hash_whole(source)
            else:
                version = hash_sampled(source, before.size, before.token)
        if store.stat(path) == before:
            return replace(before, version=version, strong=True)
    raise InputContractError(
        f"{path}: is being written to while its content is identified; wait until it is complete, "
        "and start the run again"
    )


def verified_bytes(data: bytes, expected: FileIdentity) -> BinaryIO:
    """A reader of a whole content that was read into memory.

    Raises:
        InputContractError: it is not the expected one.
    """
    file = io.BytesIO(data)
    version = hash_whole(file)
    if version != expected.version:
        raise changed(expected.path, f"version {expected.version} -> {version}")
    file.seek(0)
    return file


def changed(path: str, how: str) -> InputContractError:
    """The error for a file that is no longer what was planned."""
    return InputContractError(
        f"{path}: changed since the run was planned ({how}); start the run again: it makes a new "
        "plan and leaves this run's folder as it is"
    )
