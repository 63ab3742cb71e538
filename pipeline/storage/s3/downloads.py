"""Reading from S3: one version, whole or by ranges, verified by the object's own sha256."""

from __future__ import annotations

import hashlib
from typing import Any, NoReturn

from s3fs import S3File

from pipeline.errors import DamagedRunError, InputContractError
from pipeline.storage.backend import refuse_size
from pipeline.storage.files import FileIdentity
from pipeline.storage.s3.faults import Attempts, DamagedError, Fault, classify, is_absent
from pipeline.storage.s3.filesystem import SHA256, filesystem, run, split, version_of, watched

#: A request costs as much time as this many bytes or more, so no smaller piece is asked for.
_READ_AHEAD = 1 << 20


async def download(
    path: str,
    start: int = 0,
    stop: int | None = None,
    version: str | None = None,
    *,
    most_bytes: int | None = None,
) -> tuple[bytes, str] | None:
    """Bytes ``[start, stop)`` of an object and its version; None where there is no object.

    What arrived before a connection broke is kept, and only the rest is asked for again.

    Raises:
        InputContractError: the object is no longer ``version``.
        DamagedRunError: there is more than ``most_bytes`` of it.
    """
    arrived = _Arrived(path, start, stop, version, most_bytes)
    attempts = Attempts(path, "read")
    while True:
        try:
            await arrived.receive(attempts)
            return arrived.verified(), str(arrived.version)
        except DamagedRunError:
            raise
        except Exception as error:
            fault = classify(error)
            if is_absent(error):
                return None
            if fault is Fault.PRECONDITION and version is not None:
                raise changed(path, version) from error
            if fault is not Fault.PRECONDITION:
                await filesystem().recover(attempts, error)
            if fault in (Fault.PRECONDITION, Fault.DAMAGED):
                # Replaced between two attempts, or not what was sent: the whole of it once more.
                arrived = _Arrived(path, start, stop, version, most_bytes)


class _Arrived:
    """What has arrived of bytes ``[start, stop)``, all of one version."""

    def __init__(
        self,
        path: str,
        start: int,
        stop: int | None,
        version: str | None,
        most_bytes: int | None,
    ) -> None:
        self.version = version
        self._path, self._most_bytes = path, most_bytes
        self._bucket, self._key = split(path)
        self._start, self._stop = start, stop
        self._whole = start == 0 and stop is None
        self._parts: list[bytes] = []
        self._size = 0
        self._digest = hashlib.sha256()
        self._written: str | None = None  # the digest of what was written

    async def receive(self, attempts: Attempts) -> None:
        """One attempt at what is missing."""
        first = self._start + self._size
        if self._stop is not None and first >= self._stop:
            return
        query = {"Bucket": self._bucket, "Key": self._key}
        if not self._whole or first:
            query["Range"] = f"bytes={first}-{'' if self._stop is None else self._stop - 1}"
        if self.version is not None:
            query["IfMatch"] = f'"{self.version}"'
        answer = await filesystem().send(attempts, "get_object", **query)
        try:
            sent = str(answer.get("ContentRange", ""))
            if "Range" in query and not sent.startswith(f"bytes {first}-"):
                raise DamagedError("the store sent another range than the one asked for")
            self.version = version_of(answer)
            self._written = answer["Metadata"].get(SHA256) if self._whole else None
            if self._stop is None:
                self._stop = first + int(answer["ContentLength"])
            refuse_size(self._path, self._stop, self._most_bytes)
            await watched(self._read(answer["Body"]), lambda: self._size)
            if self._start + self._size != self._stop:
                # A shorter body that says so itself is whole to the client.
                wanted = self._stop - self._start
                raise DamagedError(f"{self._size} bytes came, where {wanted} were asked for")
        finally:
            answer["Body"].close()

    async def _read(self, body: Any) -> None:
        async for chunk in body.iter_chunks(1 << 18):
            self._parts.append(chunk)
            self._size += len(chunk)
            if self._written is not None:
                self._digest.update(chunk)

    def verified(self) -> bytes:
        """The bytes, compared with what was written as far as the object can tell."""
        if self._written not in (None, self._digest.hexdigest()):
            raise DamagedError("the content does not fit the sha256 it was written with")
        return b"".join(self._parts)


class VersionedFile(S3File):  # type: ignore[misc]
    """A seekable reader of one version, each request on condition of its ETag.

    Parquet is read as a footer and then whole column chunks, so a request is for what is read and
    :data:`_READ_AHEAD` more, and small reads (a header, the rows of a small file) share one.
    """

    def __init__(self, file: FileIdentity) -> None:
        self._file = file
        super().__init__(filesystem(), file.path, size=file.size, block_size=_READ_AHEAD)

    def __reduce__(self) -> NoReturn:
        # Elsewhere, s3fs would open whatever version is there by then.
        raise TypeError(f"{self._file.path}: an open file stays in its process; send the path")

    def _fetch_range(self, start: int, end: int) -> bytes:
        path, version = self._file.path, self._file.version
        found = run(download(path, start, end, version))
        if found is None:
            raise changed(path, version)
        return found[0]


def identity_of(path: str, size: int, etag: str) -> FileIdentity:
    """An object and its ETag, which stands for its content."""
    return FileIdentity(path=path, size=size, version=etag, token=etag, strong=True)


def changed(path: str, version: str) -> InputContractError:
    """The error for an object that is no longer the version that was planned or opened."""
    return InputContractError(
        f"{path}: changed since it was planned or opened (it was version {version}); start the "
        "run again: it makes a new plan and leaves this run's folder as it is"
    )
