"""The S3 client of this process, and how one request of it is watched.

Credentials, region and endpoint come from the environment (``AWS_*``, profiles, the role of the
machine) in the process that sends the request. Nothing here can be pickled into another process,
so no secret ends in an object store or a log of Ray.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import hashlib
import os
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.loaders import create_loader
from fsspec.asyn import get_loop

from pipeline.config import StorageConfig
from pipeline.storage.policy import retry_policy
from pipeline.storage.s3_faults import StalledError

T = TypeVar("T")

_CONNECTIONS = 64
_CONNECT_S = 10.0


class Connection:
    """One client, made when it is first needed and again when the environment has changed.

    All state belongs to the event loop; a forked child has another loop, and so another client.

    Attributes:
        generation: how many clients were given up so far.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._made_for: tuple[str, StorageConfig] | None = None
        self._client: Any = None
        self._retired: list[Any] = []
        self.generation = 0
        atexit.register(self._close)

    def run(self, request: Callable[[Any], Awaitable[T]], moved: Callable[[], int]) -> T:
        """Send one request from any thread, and abandon it where it stalls.

        Args:
            request: gets the client, gives the answer.
            moved: bytes that went over the wire so far.

        Raises:
            StalledError: it moved less than the policy's floor.
            Exception: whatever the client raises.
        """
        future = asyncio.run_coroutine_threadsafe(self._watched(request, moved), get_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def refresh(self, generation: int) -> None:
        """Read the credentials again, unless that was done since ``generation`` was current."""
        asyncio.run_coroutine_threadsafe(self._refresh(generation), get_loop()).result()

    async def _watched(self, request: Callable[[Any], Awaitable[T]], moved: Callable[[], int]) -> T:
        policy = retry_policy()
        task = asyncio.ensure_future(_send(request, await self._current(policy)))
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

    async def _current(self, policy: StorageConfig) -> Any:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lock = loop, asyncio.Lock()
            self._client, self._retired = None, []
        wanted = (_environment(), policy)
        async with self._lock:
            if self._client is None or self._made_for != wanted:
                self._retire()
                self._client, self._made_for = await _make_client(policy), wanted
        return self._client

    async def _refresh(self, generation: int) -> None:
        async with self._lock:
            if generation == self.generation:
                self._retire()

    def _retire(self) -> None:
        # Requests of other threads may still be on their way through it: closed at exit.
        if self._client is not None:
            self._retired.append(self._client)
            self._client = None
            self.generation += 1

    def _close(self) -> None:
        if self._loop is not None and self._loop is get_loop():
            future = asyncio.run_coroutine_threadsafe(self._close_all(), self._loop)
            concurrent.futures.wait([future], timeout=2)

    async def _close_all(self) -> None:
        self._retire()
        for client in self._retired:
            await client.close()


async def _send(request: Callable[[Any], Awaitable[T]], client: Any) -> T:
    return await request(client)


def _environment() -> str:
    """A digest of what the client is made from; the secret itself is not kept."""
    values = sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    return hashlib.sha256(repr(values).encode()).hexdigest()


async def _make_client(policy: StorageConfig) -> Any:
    config = AioConfig(
        connect_timeout=min(_CONNECT_S, policy.stall_s),
        read_timeout=3 * policy.stall_s,  # never reached: a silent store is abandoned before
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        # Attempts are counted in one place, which knows what a lost answer means: s3_faults.
        retries={"total_max_attempts": 1, "mode": "standard"},
        http_session_cls=_SendOnce,
        # Trailing checksums are refused by Ceph and older stores (411). Every write of ours
        # carries Content-MD5, which all of them verify.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = AioSession()
    session.register_component("data_loader", _loader())
    client = await session.create_client("s3", config=config).__aenter__()
    # A file-like body makes botocore ask for leave first (Expect: 100-continue); that costs a
    # round trip per commit, and a store that does not know it would be waited for.
    client.meta.events.register_last("before-call.s3.PutObject", _without_expect)
    return client


@cache
def _loader() -> Any:
    """The descriptions of AWS services, parsed once for all clients."""
    return create_loader()


class _SendOnce(AIOHTTPSession):  # type: ignore[misc]
    """aiohttp sends a PUT again by itself when its connection breaks; that is ours to decide."""

    async def _get_session(self, proxy_url: Any) -> Any:
        session = await super()._get_session(proxy_url)
        session._retry_connection = False
        return session


def _without_expect(params: dict[str, Any], **_: Any) -> None:
    params["headers"].pop("Expect", None)
