"""Requests to S3, each sent until it is answered: plain ones, uploads, and downloads that go on.

Every request goes through :class:`Attempts`, and every transfer is watched by
:class:`Connection`.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from pipeline.errors import ConfigurationError, DamagedRunError, InputContractError
from pipeline.storage.backend import refuse_size
from pipeline.storage.files import FileIdentity
from pipeline.storage.s3_client import Connection
from pipeline.storage.s3_faults import (
    Attempts,
    DamagedError,
    Fault,
    classify,
    is_absent,
    status_of,
)

#: Metadata of an object of ours: the digest of its content, and which call wrote it.
SHA256, WRITE_ID = "sha256", "write-id"

_CHUNK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Head:
    """What an object is now.

    Attributes:
        identity: path, size and ETag.
        write_id: the call that wrote it; None for objects that are not ours.
    """

    identity: FileIdentity
    write_id: str | None


@dataclass
class Download:
    """What has arrived of bytes ``[start, stop)`` of an object, over however many attempts.

    Attributes:
        start: first byte that is wanted.
        stop: byte after the last; None until the store has said where the object ends.
        version: the version that all attempts must agree on; None until the first answer.
        most_bytes: size past which it is not received; None for any.
        whole: whether the object was asked for from its beginning to its end.
    """

    start: int
    stop: int | None
    version: str | None
    most_bytes: int | None
    whole: bool
    parts: list[bytes] = field(default_factory=list)
    received: int = 0
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.stop is not None and self.received >= self.stop - self.start

    @property
    def data(self) -> bytes:
        """The bytes."""
        return b"".join(self.parts)

    @property
    def intact(self) -> bool:
        """Whether the bytes are those that were written, as far as the object can tell."""
        expected = self.metadata.get(SHA256) if self.whole else None
        if expected is None:
            return True
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part)
        return digest.hexdigest() == expected


class Requests:
    """The requests that a store consists of; every one by the path it is about."""

    def __init__(self) -> None:
        self._connection = Connection()

    def ask(
        self, path: str, verb: str, operation: str, *, absent_is_none: bool = False, **query: Any
    ) -> Any:
        """The answer to an operation of the S3 client that carries no content.

        Args:
            path: what it is about, for messages.
            verb: what is done to it ("listed"), for messages.
            operation: method of the client.
            absent_is_none: whether 404 is an answer.
            query: its arguments.
        """

        async def request(s3: Any) -> Any:
            return await getattr(s3, operation)(**query)

        return self._answered(path, verb, request, absent_is_none=absent_is_none)

    def pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Every page of ListObjectsV2."""
        while True:
            page = self.ask(path, "listed", "list_objects_v2", **query)
            yield page
            if not page.get("IsTruncated"):
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    def head(self, path: str, verb: str = "read") -> Head | None:
        """What is at ``path`` now; None where nothing is. ``verb``: what it is needed for."""
        bucket, key = split(path)

        async def request(s3: Any) -> Any:
            try:
                return await s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if status_of(error) not in (400, 403):
                    raise
            # An answer to HEAD has no body, so it cannot say whether a token has expired.
            answer = await s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
            answer["Body"].close()
            answer["ContentLength"] = int(answer["ContentRange"].rpartition("/")[2])
            return answer

        answer = self._answered(path, verb, request, absent_is_none=True)
        if answer is None:
            return None
        return Head(
            identity=identity_of(path, answer["ContentLength"], version_of(answer)),
            write_id=answer["Metadata"].get(WRITE_ID),
        )

    def put(self, path: str, data: bytes, write_id: str, condition: dict[str, str]) -> str:
        """One attempt at writing an object, watched; its version.

        The store verifies Content-MD5, readers of ours the sha256 in the metadata.
        """
        bucket, key = split(path)
        body = io.BytesIO(data)
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        metadata = {SHA256: hashlib.sha256(data).hexdigest(), WRITE_ID: write_id}

        async def request(s3: Any) -> Any:
            return await s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=body,
                ContentMD5=base64.b64encode(md5).decode(),
                Metadata=metadata,
                **condition,
            )

        return version_of(self._connection.run(request, body.tell))

    def download(
        self,
        path: str,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        most_bytes: int | None = None,
    ) -> Download | None:
        """Bytes ``[start, stop)`` of one version; None where there is no object.

        What arrived before a connection broke is kept, and only the rest is asked for again.

        Raises:
            InputContractError: the object is no longer ``version``.
            DamagedRunError: the object holds more than ``most_bytes``.
        """

        def begin() -> Download:
            return Download(start, stop, version, most_bytes, whole=start == 0 and stop is None)

        download = begin()
        attempts = Attempts(path, "read")
        while True:
            generation = self.generation
            try:
                if not download.complete:
                    self._receive(path, download)
                if not download.intact:
                    raise DamagedError("the content does not fit the sha256 it was written with")
                return download
            except DamagedRunError:
                raise
            except Exception as error:
                if is_absent(error):
                    return None
                if classify(error) is Fault.PRECONDITION:
                    if version is not None:
                        raise changed(path, version) from error
                    download = begin()  # replaced between two attempts: the new content, whole
                    continue
                self.wait(attempts, error, generation)
                if classify(error) is Fault.DAMAGED:
                    download = begin()

    @property
    def generation(self) -> int:
        """The credentials that the next request is sent with; for :meth:`wait`."""
        return self._connection.generation

    def wait(self, attempts: Attempts, error: Exception, generation: int) -> None:
        """Wait for the next attempt, with new credentials where those of ``generation`` expired.

        Raises:
            AccessDeniedError, NotFoundError, StorageError: there is no next attempt.
        """
        if attempts.failed(error) is Fault.EXPIRED:
            self._connection.refresh(generation)

    def _receive(self, path: str, to: Download) -> None:
        """One attempt at what is missing of a download."""
        bucket, key = split(path)
        first = to.start + to.received
        query: dict[str, str] = {}
        if not to.whole or first:
            query["Range"] = f"bytes={first}-{'' if to.stop is None else to.stop - 1}"
        if to.version is not None:
            query["IfMatch"] = f'"{to.version}"'

        async def request(s3: Any) -> None:
            answer = await s3.get_object(Bucket=bucket, Key=key, **query)
            try:
                if "Range" in query and not _begins_at(answer, first):
                    raise DamagedError("the store sent another range than the one asked for")
                to.version, to.metadata = version_of(answer), answer["Metadata"]
                if to.stop is None:
                    to.stop = first + int(answer["ContentLength"])
                    refuse_size(path, to.stop, to.most_bytes)
                async for chunk in answer["Body"].iter_chunks(_CHUNK):
                    to.parts.append(chunk)
                    to.received += len(chunk)
            finally:
                answer["Body"].close()

        self._connection.run(request, lambda: to.received)

    def _answered(
        self,
        path: str,
        verb: str,
        request: Callable[[Any], Awaitable[Any]],
        *,
        absent_is_none: bool,
    ) -> Any:
        attempts = Attempts(path, verb)
        while True:
            generation = self.generation
            try:
                return self._connection.run(request, lambda: 0)
            except Exception as error:
                if absent_is_none and is_absent(error):
                    return None
                self.wait(attempts, error, generation)


def split(path: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``; the key is taken literally.

    Raises:
        ConfigurationError: there is no bucket.
    """
    bucket, _, key = path.partition("://")[2].partition("/")
    if not bucket:
        raise ConfigurationError(f"{path}: no bucket; expected s3://BUCKET/FOLDER")
    return bucket, key


def version_of(answer: Any) -> str:
    """The ETag in an answer, without its quotes."""
    return str(answer["ETag"]).strip('"')


def identity_of(path: str, size: int, etag: str) -> FileIdentity:
    """An object and its ETag, which stands for its content."""
    return FileIdentity(path=path, size=size, version=etag, token=etag, strong=True)


def changed(path: str, version: str) -> InputContractError:
    """The error for an object that is no longer the version that was planned or opened."""
    return InputContractError(
        f"{path}: changed since it was planned or opened (it was version {version}); start the "
        "run again: it makes a new plan and leaves this run's folder as it is"
    )


def _begins_at(answer: Any, first: int) -> bool:
    return str(answer.get("ContentRange", "")).startswith(f"bytes {first}-")
