"""The end of a Parquet file: its footer as bytes, or what the file is instead."""

from __future__ import annotations

from typing import BinaryIO, Final

from pipeline.errors import InputContractError
from pipeline.storage.parquet.faults import empty_error, encrypted_error, no_footer_error
from pipeline.storage.parquet.footer import MOST_FOOTER_BYTES

#: What is read first from the end of a file; most footers fit in.
_TAIL_BYTES: Final = 2**16


def footer_bytes(path: str, source: BinaryIO) -> tuple[bytes, int]:
    """The footer without its frame, and the size of the file.

    Raises:
        InputContractError: the file is empty, encrypted, of another format or without a footer, or
            its footer is larger than :data:`MOST_FOOTER_BYTES`.
    """
    size = source.seek(0, 2)
    if size == 0:
        raise empty_error(path)
    source.seek(max(0, size - _TAIL_BYTES))
    tail = source.read(min(size, _TAIL_BYTES))
    length = int.from_bytes(tail[-8:-4], "little") if len(tail) >= 12 else 0
    if tail[-4:] == b"PARE":
        raise encrypted_error(path)
    if tail[-4:] != b"PAR1" or length > size - 12 or length == 0:
        source.seek(0)
        raise no_footer_error(path, source.read(512), size)
    if length > MOST_FOOTER_BYTES:
        raise InputContractError(
            f"{path}: its footer takes {length / 2**20:,.0f} MiB, more than "
            f"{MOST_FOOTER_BYTES >> 20}; write it with larger row groups, or as several files"
        )
    if length + 8 > len(tail):
        source.seek(size - length - 8)
        tail = source.read(length + 8)
    return tail[len(tail) - length - 8 : -8], size
