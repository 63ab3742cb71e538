"""Files that carry their own sha256, so that a damaged one is known by itself: Parquet and JSON.

Page checksums cover a Parquet file's data but not its footer, and a list of digests elsewhere can
be lost or disagree. The seal is an entry of the footer, or the last entry of a JSON object: the
sha256 of the whole file with the seal's own digits read as zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from pipeline.storage.parquet import to_bytes

#: Key of the entry.
SEAL: Final = "seal"

_TAG: Final = b"sha256-of-file-with-zeros-here:"
_DIGITS: Final = 64


class NotWholeError(ValueError):
    """Bytes that are not what was sealed; the message says in what way."""


def sealed_bytes(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """A table as one sealed Parquet file; the same table gives the same bytes."""
    return _sealed(to_bytes(table, metadata=metadata, footer={SEAL: _blank()}))


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """A JSON object with its seal; the same content gives the same bytes."""
    return _sealed(json.dumps({**content, SEAL: _blank()}, indent=2).encode() + b"\n")


def unsealed_json(data: bytes) -> dict[str, Any]:
    """The inverse of :func:`sealed_json`, without the seal.

    Raises:
        NotWholeError: these are not the bytes that it made.
    """
    refuse_damage(data)
    try:
        content = json.loads(data)
        del content[SEAL]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise NotWholeError("it is no JSON object") from None
    found: dict[str, Any] = content
    return found


def refuse_damage(data: bytes) -> None:
    """Compare a file with its seal.

    Raises:
        NotWholeError: it has none, or another content.
    """
    if is_whole(data):
        return
    if not data:
        raise NotWholeError("it is empty")
    if _TAG not in data:
        raise NotWholeError("it has no seal: cut off, damaged, or not written by this version")
    raise NotWholeError("its content does not fit its seal")


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


def _blank() -> str:
    return (_TAG + b"0" * _DIGITS).decode()


def _sealed(data: bytes) -> bytes:
    """The digits filled in; the seal is the last place that looks like one."""
    start = data.rindex(_TAG) + len(_TAG)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + _DIGITS :]
