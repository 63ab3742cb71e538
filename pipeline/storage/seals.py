"""JSON with its own sha256, so that a damaged file is known by itself; and the seal of any file.

A list of digests elsewhere can be lost or disagree. The seal is the last entry of a JSON object, or
an entry of a Parquet file's footer (:mod:`pipeline.outputs.sealed`): the sha256 of the whole file
with the seal's own digits read as zeros.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.storage.packed_items import PackedItems, without_array

#: Key of the entry.
SEAL: Final = "seal"

_TAG: Final = b"sha256-of-file-with-zeros-here:"
_DIGITS: Final = 64
_END: Final = b"\n}\n"


class NotWholeError(ValueError):
    """Bytes that are not what was sealed; the message says in what way."""


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """A JSON object with its seal; the same content gives the same bytes.

    Args:
        content: what JSON has; an entry may be :class:`~pipeline.storage.packed_items.PackedItems`.
    """
    data = io.BytesIO()
    # Last, also where the content was read from a sealed file and brings an old one.
    entries = {name: value for name, value in content.items() if name != SEAL}
    data.writelines(_pieces(entries | {SEAL: blank()}))
    with data.getbuffer() as whole:  # of which slices are no copies
        stop = len(whole) - len(_END) - 1  # the seal is the last entry, in quotes
        whole[stop - _DIGITS : stop] = hashlib.sha256(whole).hexdigest().encode()
    return data.getvalue()  # no copy either


def _pieces(content: Mapping[str, Any]) -> Iterator[bytes]:
    """An object as text; all pieces of one at once would take more memory than what they make."""
    encoder = json.JSONEncoder(indent=2)
    if not any(isinstance(value, PackedItems) for value in content.values()):
        yield from (piece.encode() for piece in encoder.iterencode(content))
        yield b"\n"
        return
    before = "{"
    for key, value in content.items():
        yield f"{before}\n  {json.dumps(key)}: ".encode()
        before = ","
        if isinstance(value, PackedItems):
            yield from value.text()
        else:
            text = encoder.iterencode(value)
            yield from (piece.replace("\n", "\n  ").encode() for piece in text)
    yield _END


def unsealed_json(data: bytes, *, packed: str | None = None) -> dict[str, Any]:
    """The inverse of :func:`sealed_json`, without the seal.

    Args:
        data: the file.
        packed: the entry that is to be :class:`~pipeline.storage.packed_items.PackedItems`, where
            it is a list; its items are parsed as they are read. None: no entry is.

    Raises:
        NotWholeError: these are not the bytes that it made.
    """
    refuse_damage(data)
    items: PackedItems | None = None
    try:
        if packed is not None:
            data, items = without_array(data, packed)
        content = json.loads(data)
        del content[SEAL]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise NotWholeError("it is no JSON object") from None
    found: dict[str, Any] = content
    return found if items is None or packed is None else found | {packed: items}


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
    whole = memoryview(data)  # of which slices are no copies
    digest = hashlib.sha256(whole[:start])
    digest.update(b"0" * _DIGITS)
    digest.update(whole[start + _DIGITS :])
    return digest.hexdigest().encode() == data[start : start + _DIGITS]


def blank() -> str:
    """The entry of a file that is not sealed yet."""
    return (_TAG + b"0" * _DIGITS).decode()


def sealed(data: bytes) -> bytes:
    """A file with the digits filled in; the seal is the last place that looks like one."""
    start = data.rindex(_TAG) + len(_TAG)
    whole = bytearray(data)
    whole[start : start + _DIGITS] = hashlib.sha256(whole).hexdigest().encode()
    return bytes(whole)
