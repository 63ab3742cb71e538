"""Images over https, from hosts that the job names: resolved once, and connected to that address.

What a name resolves to may change between two questions, so the addresses that were checked are
the ones connected to; TLS verifies the name. A redirect is a request of its own with all checks.
Proxies, netrc, cookies and content codings are not used.
"""

from __future__ import annotations

import http.client
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urljoin

from pipeline.candidates.reasons import IMAGE_FETCH, IMAGE_LIMIT
from pipeline.config import ImagesConfig
from pipeline.config.images import host_and_port
from pipeline.images.errors import ImageError

_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PIECE: Final = 1 << 16
_HEADERS: Final = {
    "Accept": "image/jpeg, image/png, image/webp",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "rerank-pipeline",
}
_URI: Final = re.compile(r"https://([^/?#]*)([^#]*)(?:#.*)?", re.IGNORECASE)
#: Characters that a request line may hold; others are percent-encoded, none is decoded.
_AS_THEY_ARE: Final = "!$%&'()*+,/:;=?@[]~"

#: Family and socket address, as ``getaddrinfo`` gives them.
_Address = tuple[int, Any]


@dataclass(frozen=True)
class _Clock:
    """How long an image may still take."""

    stall_s: float
    end: float

    def left(self) -> float:
        """Seconds that the next step may take.

        Raises:
            TimeoutError: none.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("input.images.fetch_s is over")
        return min(self.stall_s, left)


class _TimedSocket(ssl.SSLSocket):
    """A TLS socket that looks at the clock before every read.

    A time limit of the socket alone starts anew with each byte, so a slow drip would never end.
    """

    clock: _Clock | None = None

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As :meth:`socket.socket.recv_into`; TimeoutError where the time is over."""
        if self.clock is not None:
            self.settimeout(self.clock.left())
        return super().recv_into(buffer, nbytes, flags)


class _CheckedConnection(http.client.HTTPSConnection):
    """A connection to one of the addresses that were checked, whatever the name resolves to now."""

    def __init__(
        self, host: str, port: int, *, addresses: Sequence[_Address], clock: _Clock, context: Any
    ) -> None:
        super().__init__(host, port, context=context)
        self.addresses, self.clock, self.tls = addresses, clock, context

    def connect(self) -> None:
        """Connect to the first address that answers, and verify the host's certificate."""
        for place, (family, address) in enumerate(self.addresses):
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(self.clock.left())
                plain.connect(address)
                plain.settimeout(self.clock.left())
                self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)
                self.sock.clock = self.clock
                return
            except ssl.SSLError:
                plain.close()
                raise
            except OSError:
                plain.close()
                if place + 1 == len(self.addresses):
                    raise


class HttpsReader:
    """Reads images from the hosts of ``input.images.https_hosts``; for several threads."""

    def __init__(self, images: ImagesConfig, *, public: Callable[[str], bool]) -> None:
        """Take the job's rules; nothing is opened.

        Args:
            images: the rules.
            public: whether an IP address may be connected to.
        """
        self.images = images
        self.public = public
        self.hosts = {host_and_port(host) for host in images.https_hosts}

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.sslsocket_class = _TimedSocket
        return context

    def read(self, uri: str) -> bytes:
        """The body that a host answers with.

        Raises:
            ImageError: image_fetch: the host is not named or has an address that is not public, a
                redirect leads elsewhere, or the server answers with something else or too slowly;
                image_limit: the body is too large.
        """
        clock = _Clock(self.images.stall_s, time.monotonic() + self.images.fetch_s)
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                answer = self._ask(uri, clock)
            except TimeoutError:
                raise ImageError(
                    IMAGE_FETCH,
                    f"slower than input.images.stall_s = {self.images.stall_s:g} or "
                    f"input.images.fetch_s = {self.images.fetch_s:g} allow",
                ) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise ImageError(IMAGE_FETCH, f"{type(error).__name__}: {error}") from None
            if isinstance(answer, bytes):
                return answer
            uri = answer
        raise ImageError(IMAGE_FETCH, f"more than {_MOST_REDIRECTS} redirects")

    def _ask(self, uri: str, clock: _Clock) -> bytes | str:
        """The body, or the URI that a redirect leads to."""
        host, port, target = self._allowed(uri)
        connection = _CheckedConnection(
            host,
            port,
            addresses=self._addresses(host, port, clock),
            clock=clock,
            context=self._context,
        )
        try:
            connection.request("GET", target, headers=_HEADERS)
            with connection.getresponse() as answer:
                return self._answer(answer, uri)
        finally:
            connection.close()

    def _allowed(self, uri: str) -> tuple[str, int, str]:
        """Host, port and request target of a URI whose host the job names."""
        found = _URI.fullmatch(uri)
        if found is None or re.search(r"[\x00-\x20\x7f\\]", uri):
            raise ImageError(IMAGE_FETCH, "no https URI; http and other schemes are never fetched")
        authority, target = found.groups()
        if "@" in authority:
            raise ImageError(IMAGE_FETCH, "a user in a URI; images are fetched without credentials")
        try:
            host, port = host_and_port(authority)
        except ValueError as error:
            raise ImageError(IMAGE_FETCH, f"not a host of the URI: {error}") from None
        if (host, port) not in self.hosts:
            raise ImageError(
                IMAGE_FETCH,
                f"https from {host} (port {port}) is not allowed; input.images.https_hosts names "
                "the hosts that are",
            )
        if not target.startswith("/"):
            target = "/" + target
        return host, port, quote(target, safe=_AS_THEY_ARE)

    def _addresses(self, host: str, port: int, clock: _Clock) -> list[_Address]:
        """Every address of a host, asked for once; all of them must be public."""
        found = _resolve(host, port, clock.left())
        for _, address in found:
            if not self.public(str(address[0])):
                raise ImageError(
                    IMAGE_FETCH,
                    f"{host} has an address that is not public; what is inside a network is not "
                    "fetched, whatever input.images.https_hosts says",
                )
        return found

    def _answer(self, answer: http.client.HTTPResponse, uri: str) -> bytes | str:
        place = answer.headers.get("Location")
        if answer.status in _REDIRECTS and place is not None:
            return urljoin(uri, place)
        if answer.status != http.client.OK:
            raise ImageError(IMAGE_FETCH, f"the server answered with status {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ImageError(IMAGE_FETCH, "the server sent a content coding that was not asked for")
        most, length = self.images.max_bytes, answer.length
        body = bytearray()
        if length is None or length <= most:
            while len(body) <= most and (piece := answer.read(min(_PIECE, most + 1 - len(body)))):
                body += piece
        if len(body) > most or (length or 0) > most:
            raise ImageError(IMAGE_LIMIT, f"more than input.images.max_bytes = {most}")
        if length is not None and len(body) < length:
            raise ImageError(IMAGE_FETCH, "the server's answer ends early")
        return bytes(body)


def _resolve(host: str, port: int, seconds: float) -> list[_Address]:
    """What ``getaddrinfo`` gives, each address once; it has no time limit of its own.

    Raises:
        ImageError: the host is not found.
        TimeoutError: the resolver takes longer.
    """
    answers: queue.SimpleQueue[list[_Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list({item[4]: (int(item[0]), item[4]) for item in found}.values()))
        except Exception as error:  # raised below, in the thread that waits
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"{host} was not resolved in time") from None
    if isinstance(answer, Exception):
        raise ImageError(IMAGE_FETCH, f"{host}: not found ({answer})") from None
    return answer
