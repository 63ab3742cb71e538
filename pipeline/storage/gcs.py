"""Google Cloud Storage: the generation of an object is the version that a write may depend on.

``ifGenerationMatch=0`` is "create", any other number is "replace this one". gcsfs repeats a request
whose answer was lost by itself, so a refusal may be about our own write; the object's metadata
says whose it is.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from fsspec.spec import AbstractBufferedFile

from pipeline.errors import StorageError
from pipeline.storage.content import changed
from pipeline.storage.counters import Event, count
from pipeline.storage.files import FileIdentity
from pipeline.storage.filesystem import Filesystem, denied, resolve
from pipeline.storage.policy import pause, retry_policy

_WRITE_ID = "write-id"

#: A request costs as much time as this many bytes or more, so no smaller piece is asked for.
_READ_AHEAD = 1 << 20
_NOTHING = "0"


class GoogleStorage(Filesystem):
    """Objects below ``gs://bucket/...``; needs gcsfs."""

    def create(self, path: str, data: bytes) -> bool:
        """Upload with ``ifGenerationMatch=0``."""
        return self._put_if(path, data, _NOTHING) is not None

    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """Upload with ``ifGenerationMatch``."""
        return self._put_if(path, data, version)

    def _reader(self, fs: Any, name: str, file: FileIdentity) -> BinaryIO:
        """Ranged reads of one generation; it is gone once the object is overwritten."""
        return cast(BinaryIO, _OneGeneration(fs, name, file))

    def _put_if(self, path: str, data: bytes, generation: str) -> str | None:
        """Write where ``generation`` is the current one; the new one, or None."""
        policy = retry_policy()
        write_id = uuid.uuid4().hex
        for failures in range(1, policy.attempts + 1):
            fs, name = resolve(path)
            try:
                return str(_upload(fs, name, data, write_id, generation)["generation"])
            except FileExistsError as error:  # what gcsfs makes of 412
                refusal: Exception = error
            except PermissionError as error:
                raise denied(path, error) from error
            except Exception as error:  # every layer below has exceptions of its own
                refusal = error
                time.sleep(pause(policy.backoff_s, failures))
            current, writer = _current(*resolve(path))
            if writer == write_id:
                count(Event.AMBIGUOUS)
                return current
            if current != generation:
                return None
            count(Event.SERVER)
        raise StorageError(
            f"{path}: could not be written in {policy.attempts} attempts; the last one: {refusal}"
        ) from refusal


class _OneGeneration(AbstractBufferedFile):  # type: ignore[misc]
    """A seekable reader of one generation of an object."""

    def __init__(self, fs: Any, name: str, file: FileIdentity) -> None:
        self._found = file
        super().__init__(fs, name, size=file.size, block_size=_READ_AHEAD)

    def _fetch_range(self, start: int, end: int) -> bytes:
        version = self._found.version
        try:
            return bytes(self.fs.cat_file(f"{self.path}#{version}", start=start, end=end))
        except FileNotFoundError:
            raise changed(self._found.path, f"generation {version} is gone") from None


def _upload(fs: Any, name: str, data: bytes, write_id: str, generation: str) -> dict[str, Any]:
    """One conditional multipart upload; the object's new resource."""
    bucket, _, key = name.partition("/")
    boundary = uuid.uuid4().hex
    head = json.dumps({"name": key, "metadata": {_WRITE_ID: write_id}})
    body = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{head}\r\n"
        f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
    ).encode()
    answer: dict[str, Any] = fs.call(
        "POST",
        f"{fs._location}/upload/storage/v1/b/{quote(bucket)}/o",
        uploadType="multipart",
        ifGenerationMatch=generation,
        headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
        data=body + data + f"\r\n--{boundary}--".encode(),
        json_out=True,
    )
    return answer


def _current(fs: Any, name: str) -> tuple[str, str | None]:
    """Generation of what is there ("0" for nothing) and the id of the write that made it."""
    try:
        info = fs.info(name)
    except FileNotFoundError:
        return _NOTHING, None
    return str(info["generation"]), (info.get("metadata") or {}).get(_WRITE_ID)
