"""s3fs, with every request sent until it is answered: attempts, stalls and faults are ours.

Credentials, region and endpoint come from the environment (``AWS_*``, profiles, the role of the
machine) in the process that sends the request. No secret can be pickled into another process, so
none ends in an object store or a log of Ray.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ClientError
from fsspec.asyn import get_loop

from pipeline.errors import ConfigurationError
from pipeline.storage.policy import retry_policy
from pipeline.storage.s3.faults import (
    Attempts,
    MalformedError,
    StalledError,
    answered,
    is_absent,
    refuse_malformed,
)

T = TypeVar("T")

#: Metadata of an object of ours: the digest of its content, and which call wrote it.
SHA256, WRITE_ID = "sha256", "write-id"

#: What an operation does, by its first word, for messages; every other one writes.
_VERBS = {"list": "listed", "delete": "deleted", "abort": "aborted", "head": "read", "get": "read"}


def filesystem() -> S3FileSystem:
    """The file system of this process and its environment; fsspec keeps one for each.

    To be asked for with every use: after a fork, or when ``AWS_*`` has changed, it is another.
    """
    values = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    # A digest, so that the secret itself is not kept.
    return S3FileSystem(environment=hashlib.sha256(repr(values).encode()).hexdigest())


class S3FileSystem(s3fs.S3FileSystem):  # type: ignore[misc]
    """Requests of any method of s3fs are watched, counted and sent again here.

    A write whose answer is lost is sent again, too; one that depends on a condition has to see
    every answer instead, and goes through :meth:`send`.
    """

    # s3fs tries again by itself where it reads a body, and sleeps even after its last try.
    retries = 1

    def __init__(self, *, environment: str, **_: Any) -> None:
        # What fsspec's own configuration has for "s3" is handed over as well; only AWS_* counts.
        config = {
            "connect_timeout": 10.0,
            "read_timeout": None,  # a silent store is abandoned by `watched`
            "max_pool_connections": 64,
            "tcp_keepalive": True,
            # Attempts are counted in one place, which knows what a lost answer means.
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "http_session_cls": _SendOnce,
            # Trailing checksums are refused by Ceph and older stores (411). Every write of ours
            # carries Content-MD5, which all of them verify.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        super().__init__(use_listings_cache=False, config_kwargs=config)
        self._connecting = asyncio.Lock()
        self._expired: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (filesystem, ())  # in another process: from the environment there

    def split_path(self, path: str) -> tuple[str, str, None]:
        """Bucket and key; s3fs would find a version, and drop a slash, in some keys."""
        return *split(path), None

    def call_s3(self, method: str, *options: dict[str, Any], **query: Any) -> Any:
        """:meth:`_call_s3` from any thread; the inherited one stays bound to that of s3fs."""
        return run(self._call_s3(method, *options, **query))

    async def _call_s3(
        self, method: str, *options: dict[str, Any], verb: str | None = None, **query: Any
    ) -> Any:
        """As in s3fs; ``verb``: what is done to the object, where the operation does not say it.

        Raises:
            FileNotFoundError: there is no such object (a missing bucket is a mistake).
            AccessDeniedError, NotFoundError, StorageError: there is no next attempt.
        """
        key = query.get("Key", query.get("Prefix", ""))
        path = f"s3://{query.get('Bucket', '')}/{key}".rstrip("/")
        attempts = Attempts(path, verb or _VERBS.get(method.partition("_")[0], "written"))
        while True:
            try:
                return await self.send(attempts, method, *options, **query)
            except Exception as error:
                if is_absent(error):
                    raise FileNotFoundError(path) from error
                await self.recover(attempts, error)

    async def recover(self, attempts: Attempts, error: Exception) -> None:
        """:meth:`Attempts.wait`; whoever sends next has other credentials where these expired."""
        if await attempts.wait(error) and attempts.client is self._s3:
            self._expired = self._s3

    async def send(
        self, attempts: Attempts, method: str, *options: dict[str, Any], **query: Any
    ) -> Any:
        """One attempt; raises what the client raises, or an error of :mod:`.faults`."""
        async with self._connecting:
            refresh = self._s3 is not None and self._s3 is self._expired
            attempts.client = client = await self.set_session(refresh=refresh)
        operation = getattr(client, method)
        query = self._get_s3_method_kwargs(operation, *options, **query)
        body = io.BytesIO(query.get("Body", b""))
        if "Body" in query:
            query["Body"] = body
        ask = _head(client, query) if method == "head_object" else operation(**query)
        answer = await watched(ask, body.tell)
        try:
            refuse_malformed(method, answer)
        except MalformedError:
            if "Body" in answer:
                answer["Body"].close()
            raise
        return answer


def run(answer: Coroutine[Any, Any, T]) -> T:
    """Wait for a coroutine from any thread; it is cancelled where the wait is interrupted."""
    future = asyncio.run_coroutine_threadsafe(answer, get_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def split(path: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``; the key is taken literally.

    Raises:
        ConfigurationError: there is no bucket.
    """
    bucket, _, key = path.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigurationError(f"{path}: no bucket; expected s3://BUCKET/FOLDER")
    return bucket, key


def version_of(answer: Any) -> str:
    """The ETag in an answer, without its quotes."""
    return str(answer["ETag"]).strip('"')


async def watched(request: Awaitable[T], moved: Callable[[], int]) -> T:
    """The outcome of a request or of a part of it; ``moved``: bytes that went over the wire so far.

    Raises:
        StalledError: it moved less than the policy's floor, and is cancelled.
    """
    policy = retry_policy()
    task = asyncio.ensure_future(request)
    seen = moved()
    try:
        while not (await asyncio.wait({task}, timeout=policy.stall_s))[0]:
            now = moved()
            if now - seen < policy.min_bytes_per_s * policy.stall_s:
                raise StalledError(
                    f"{max(0, now - seen)} bytes moved in {policy.stall_s:g} s, less than "
                    f"{policy.min_bytes_per_s} per second"
                )
            seen = now
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _head(client: Any, query: dict[str, Any]) -> Any:
    try:
        return await client.head_object(**query)
    except ClientError as error:
        if answered(error)[0] not in (400, 403):
            raise
    # An answer to HEAD has no body, so it cannot say whether a token has expired.
    answer = await client.get_object(**query, Range="bytes=0-0")
    answer["Body"].close()
    answer["ContentLength"] = int(answer["ContentRange"].rpartition("/")[2])
    return answer


class _SendOnce(AIOHTTPSession):  # type: ignore[misc]
    async def send(self, request: Any) -> Any:
        # botocore asks for leave first (100-continue) where a body looks like a file; that costs a
        # round trip per commit, and a store that does not know it would be waited for.
        request.headers.pop("Expect", None)
        return await super().send(request)

    async def _get_session(self, proxy_url: Any) -> Any:
        # aiohttp sends a PUT again by itself when its connection breaks; that is ours to decide.
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        return session
