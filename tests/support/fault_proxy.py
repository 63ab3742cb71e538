"""A proxy in front of an S3 server that breaks what it is told to break, the same way every time.

    with FaultProxy(server.url) as proxy:
        proxy.add(Rule(SLOW_DOWN, method="PUT", path="unit-", probability=0.3))
        ...  # talk to proxy.url
        assert proxy.hits

A request is read whole and sent on over a connection of its own. A rule counts the requests that it
matches and decides by that count and the proxy's seed, so a client that sends one request after the
other meets the same faults in every run.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>{code}</Code><Message>made by the fault proxy</Message></Error>"
)
#: What a reset waits for, so that it does not overtake the bytes before it.
_DELIVERY_S = 0.05


class ResetConnection(Exception):
    """Answer with TCP's RST instead of HTTP."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came: the head up to and with the empty line, and the whole body."""

    method: str
    target: str
    head: bytes
    body: bytes


class Upstream:
    """The real server."""

    def __init__(self, url: str, credentials: tuple[str, str]) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self._credentials = credentials

    async def answer(self, request: Request, *, body_bytes: int | None = None) -> bytes:
        """Send a request, or its head and the first bytes of its body, and read until the end."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = without_headers(request.head, "connection", "expect")
            writer.write(head[:-2] + b"Connection: close\r\n\r\n" + request.body[:body_bytes])
            await writer.drain()
            return b"" if body_bytes is not None else await reader.read()
        finally:
            writer.transport.abort() if body_bytes is not None else writer.close()

    def signed_again(self, request: Request) -> Request:
        """The request with a signature for the headers that it has now."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        headers = dict(
            line.split(": ", 1)
            for line in without_headers(request.head, "authorization").decode().split("\r\n")[1:-2]
        )
        url = f"http://{headers['Host']}{request.target}"
        signed = AWSRequest(request.method, url, headers, request.body)
        S3SigV4Auth(Credentials(*self._credentials), "s3", "us-east-1").add_auth(signed)
        lines = [f"{request.method} {request.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in signed.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        return Request(method=request.method, target=request.target, head=head, body=request.body)


class Action:
    """What happens to a request; this one lets it pass."""

    async def receive(self, reader: asyncio.StreamReader, length: int) -> bytes:
        """Take the request's body."""
        return await reader.readexactly(length)

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        """Head and body of the answer."""
        return await upstream.answer(request)

    async def deliver(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        """Give the answer to the client."""
        writer.write(answer)
        await writer.drain()


@dataclass(frozen=True)
class Status(Action):
    """An error that is answered without asking the server."""

    status: int
    code: str

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        return _error(request, self.status, self.code)


SLOW_DOWN = Status(503, "SlowDown")


@dataclass(frozen=True)
class ExpiredUnless(Action):
    """Only requests that are signed with an access key are answered, others after a while refused.

    Attributes:
        access_key: the one whose requests the server gets.
        seconds: before the others hear that their keys have expired.
    """

    access_key: str
    seconds: float = 0.0

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        if f"Credential={self.access_key}/".encode() in request.head:
            return await upstream.answer(request)
        await asyncio.sleep(self.seconds)
        return _error(request, 403, "ExpiredToken")


@dataclass(frozen=True)
class Latency(Action):
    """The server hears of the request late."""

    seconds: float

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        await asyncio.sleep(self.seconds)
        return await upstream.answer(request)


@dataclass(frozen=True)
class Reset(Action):
    """The connection breaks before the server hears of the request."""

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        raise ResetConnection


@dataclass(frozen=True)
class LoseAnswer(Action):
    """The server does what was asked; the client gets a reset, or an error ``status``."""

    status: int | None = None

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        await upstream.answer(request)
        if self.status is None:
            raise ResetConnection
        return _error(request, self.status, "InternalError")


@dataclass(frozen=True)
class Hang(Action):
    """The client waits for ever; ``committed``: although the server did what was asked."""

    committed: bool = False

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        if self.committed:
            await upstream.answer(request)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")


@dataclass(frozen=True)
class Drip(Action):
    """The answer's body comes at so many bytes per second."""

    bytes_per_s: int

    async def deliver(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        head, body = _split(answer)
        writer.write(head)
        step = max(1, self.bytes_per_s // 10)
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
            await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Sip(Action):
    """The request's body is taken at so many bytes per second."""

    bytes_per_s: int

    async def receive(self, reader: asyncio.StreamReader, length: int) -> bytes:
        step = max(1, self.bytes_per_s // 10)
        body = b""
        while len(body) < length:
            body += await reader.readexactly(min(step, length - len(body)))
            await asyncio.sleep(0.1)
        return body


@dataclass(frozen=True)
class CutAnswer(Action):
    """The answer's body ends after ``at`` bytes, with a close or a reset."""

    at: int
    reset: bool = False

    async def deliver(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        head, body = _split(answer)
        writer.write(head + body[: self.at])
        await writer.drain()
        if self.reset:
            await asyncio.sleep(_DELIVERY_S)
            raise ResetConnection


@dataclass(frozen=True)
class CorruptAnswer(Action):
    """One bit of the answer's body is another: that of byte ``at``, counted from the end if < 0."""

    at: int

    async def deliver(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        head, body = _split(answer)
        damaged = bytearray(body)
        damaged[self.at] ^= 1
        writer.write(head + damaged)
        await writer.drain()


@dataclass(frozen=True)
class CutRequest(Action):
    """The connection to the server breaks after ``at`` bytes of the request's body."""

    at: int

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        await upstream.answer(request, body_bytes=self.at)
        raise ResetConnection


@dataclass(frozen=True)
class CorruptRequest(Action):
    """One bit of the request's body is another."""

    at: int

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        damaged = bytearray(request.body)
        damaged[self.at] ^= 1
        return await upstream.answer(
            Request(
                method=request.method,
                target=request.target,
                head=request.head,
                body=bytes(damaged),
            )
        )


@dataclass(frozen=True)
class ShortRange(Action):
    """The server is asked for all but the last byte of a range, and its answer says so."""

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        head = re.sub(
            rb"(?i)(\r\nrange: bytes=\d+-)(\d+)",
            lambda found: found[1] + str(int(found[2]) - 1).encode(),
            request.head,
        )
        shorter = Request(method=request.method, target=request.target, head=head, body=b"")
        return await upstream.answer(upstream.signed_again(shorter))


@dataclass(frozen=True)
class Page(Action):
    """What a proxy answers in the server's place, with a status that says that all is well."""

    body: bytes = b""

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        length = b"Content-Length: %d\r\n" % (0 if request.method == "HEAD" else len(self.body))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + length
        body = b"" if request.method == "HEAD" else self.body
        return head + b"Connection: close\r\n\r\n" + body


@dataclass(frozen=True)
class DropHeaders(Action):
    """Headers that the server never sees; the request is signed again without them."""

    names: tuple[str, ...]

    async def answer(self, request: Request, upstream: Upstream) -> bytes:
        changed = Request(
            method=request.method,
            target=request.target,
            head=without_headers(request.head, *self.names),
            body=request.body,
        )
        return await upstream.answer(upstream.signed_again(changed))


#: A store that takes every condition and obeys none.
IGNORE_CONDITIONS = DropHeaders(("if-none-match", "if-match"))


@dataclass(frozen=True)
class Rule:
    """Which requests meet an action; the first rule that fires has the request.

    Attributes:
        action: what happens to them.
        method: HTTP method; None is every one.
        path: regular expression, searched for in path and query.
        nth: only these of the requests that match, counted from 1; None is all.
        probability: share of those.
        most: how often the rule fires at most; None is for ever.
    """

    action: Action
    method: str | None = None
    path: str = ""
    nth: tuple[int, ...] | None = None
    probability: float = 1.0
    most: int | None = None

    def matches(self, request: tuple[str, str]) -> bool:
        """Whether the rule is about a (method, target)."""
        method, target = request
        return self.method in (None, method) and re.search(self.path, target) is not None


@dataclass(frozen=True)
class Hit:
    """A rule that fired."""

    method: str
    target: str
    action: Action


@dataclass
class _Counted:
    rule: Rule
    matched: int = 0
    fired: int = 0


class FaultProxy:
    """Listens on a free port of this machine, in a thread of its own, while the context lasts.

    Args:
        upstream: URL of the real server.
        credentials: access and secret key for requests that are signed again.
        seed: decides which requests the probabilities hit.
    """

    def __init__(
        self, upstream: str, *, credentials: tuple[str, str] = ("test", "test"), seed: int = 0
    ) -> None:
        self._upstream = Upstream(upstream, credentials)
        self._seed = seed
        self._lock = threading.Lock()
        self._rules: list[_Counted] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.hits: list[Hit] = []
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connected, "127.0.0.1", 0, limit=1 << 20), self._loop
        ).result()
        self._server = server
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def add(self, *rules: Rule) -> Self:
        """Put rules behind those that are there."""
        with self._lock:
            self._rules += [_Counted(rule) for rule in rules]
        return self

    def clear(self) -> None:
        """Forget all rules, hits and requests."""
        with self._lock:
            self._rules, self.hits, self.requests = [], [], []

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round of the loop

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._exchange(reader, writer)
            writer.close()
        except ResetConnection:
            linger = struct.pack("ii", 1, 0)
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):  # either side went away
            writer.transport.abort()
        except asyncio.CancelledError:  # the proxy stops
            writer.transport.abort()
            raise

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin1").split(" ")
        action = self._action(method, target)
        if header(head, "expect").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if header(head, "transfer-encoding"):
            raise NotImplementedError("the proxy takes no chunked requests")
        body = await action.receive(reader, int(header(head, "content-length") or 0))
        request = Request(method=method, target=target, head=head, body=body)
        await action.deliver(await action.answer(request, self._upstream), writer)

    def _action(self, method: str, target: str) -> Action:
        with self._lock:
            self.requests.append((method, target))
            for number, counted in enumerate(self._rules):
                if counted.rule.matches((method, target)) and self._fires(number, counted):
                    self.hits.append(Hit(method, target, counted.rule.action))
                    return counted.rule.action
        return Action()

    def _fires(self, number: int, counted: _Counted) -> bool:
        rule = counted.rule
        counted.matched += 1
        chance = random.Random(f"{self._seed} {number} {counted.matched}").random()
        fires = (
            (rule.most is None or counted.fired < rule.most)
            and (rule.nth is None or counted.matched in rule.nth)
            and chance < rule.probability
        )
        counted.fired += fires
        return fires


def header(head: bytes, name: str) -> str:
    """Value of a header; empty where there is none."""
    found = re.search(rb"(?im)^" + name.encode() + rb":[ \t]*([^\r]*)\r$", head)
    return found.group(1).decode("latin1") if found else ""


def without_headers(head: bytes, *names: str) -> bytes:
    """A head without some of its headers."""
    dropped = tuple(f"{name}:".encode() for name in names)
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(dropped))


def _split(answer: bytes) -> tuple[bytes, bytes]:
    head, separator, body = answer.partition(b"\r\n\r\n")
    return head + separator, body


def _error(request: Request, status: int, code: str) -> bytes:
    body = _ERROR.format(code=code).encode()
    head = (
        f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if request.method == "HEAD" else body)
