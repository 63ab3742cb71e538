"""Parquet files that carry their own sha256, so that a damaged one is known by itself.

Page checksums cover a file's data but not its footer, and no list of digests elsewhere can be lost
or disagree. The seal is an entry of the footer: the sha256 of the whole file with the seal's own
digits read as zeros.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from pipeline.storage.parquet import to_bytes

#: Key of the footer entry.
SEAL: Final = "seal"

_TAG: Final = b"sha256-of-file-with-zeros-here:"
_DIGITS: Final = 64


def sealed_bytes(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """A table as one sealed Parquet file; the same table gives the same bytes."""
    blank = (_TAG + b"0" * _DIGITS).decode()
    data = to_bytes(table, metadata=metadata, footer={SEAL: blank})
    start = data.rindex(_TAG) + len(_TAG)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + _DIGITS :]


def is_whole(data: bytes) -> bool:
    """Whether every byte of a sealed file is as it was written."""
    start = data.rfind(_TAG)
    if start < 0:
        return False
    start += len(_TAG)
    digest = hashlib.sha256(data[:start])
    digest.update(b"0" * _DIGITS)
    digest.update(data[start + _DIGITS :])
    return digest.hexdigest().encode() == data[start : start + _DIGITS]
