"""Https from named hosts only, to the address that was checked, within limits, over real TLS.

The server listens on one loopback address, which the tests take for one of the open internet; the
resolver is the one thing that is stood in for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.candidates import reasons
from pipeline.config import ImagesConfig
from pipeline.images.errors import ImageError
from pipeline.images.https import HttpsReader
from tests.images.tls_server import BODY, INSIDE, OPEN, Server, drip, serving

HOST = "images.example"
PUBLIC = "93.184.215.14"


class Resolver:
    """Stands in for ``getaddrinfo``: answers in turn, the last one for good."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        turns = self.answers[host]
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Server]:
    with serving(folder, [HOST, "other.example", "unlisted.example"]) as server:
        yield server


@pytest.fixture
def server(running: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    running.seen.clear()
    running.answers.clear()
    resolve(monkeypatch, {name: [[OPEN]] for name in (HOST, "other.example", "unlisted.example")})
    return running


def resolve(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> Resolver:
    resolver = Resolver(answers)
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def reader(server: Server, *others: str, **limits: Any) -> HttpsReader:
    hosts = [f"{HOST}:{server.port}", f"other.example:{server.port}", *others]
    images = ImagesConfig(https_hosts=tuple(hosts), **limits)
    return HttpsReader(images, public=lambda address: address in (OPEN, PUBLIC))


def uri(server: Server, path: str = "/a.png", host: str = HOST) -> str:
    return f"https://{host}:{server.port}{path}"


def refused(read: HttpsReader, place: str, *, code: str = reasons.IMAGE_FETCH) -> str:
    with pytest.raises(ImageError) as caught:
        read.read(place)
    assert caught.value.code == code
    return caught.value.detail


class TestAllowed:
    def test_a_named_host_is_read_without_anything_of_ours(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {HOST} login secret password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        assert reader(server).read(uri(server, "/a%20b.png?v=1#part")) == BODY
        path, headers = server.seen[0]
        assert path == "/a%20b.png?v=1"
        assert headers == {
            "Host": f"{HOST}:{server.port}",
            "Accept": "image/jpeg, image/png, image/webp",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": "rerank-pipeline",
        }

    def test_letters_of_scheme_and_host_and_characters_of_the_path(self, server: Server) -> None:
        assert reader(server).read(uri(server, "/é?q=ü").replace("https", "HTTPS")) == BODY
        assert reader(server).read(uri(server, host=HOST.upper())) == BODY
        assert reader(server).read(f"https://{HOST}:{server.port}") == BODY
        assert [path for path, _ in server.seen] == ["/%C3%A9?q=%C3%BC", "/a.png", "/"]

    def test_a_literal_address_that_is_named(self, server: Server) -> None:
        read = reader(server, f"{OPEN}:{server.port}")
        read.hosts = {(OPEN, server.port)}
        answers = {OPEN: [[OPEN]]}
        socket.getaddrinfo.answers.update(answers)  # type: ignore[attr-defined]
        assert read.read(uri(server, host=OPEN)) == BODY

    def test_redirects_among_named_hosts(self, server: Server) -> None:
        server.answers |= {"/1": "2", "/2": f"https://other.example:{server.port}/3", "/3": "/a"}
        assert reader(server).read(uri(server, "/1")) == BODY
        assert [path for path, _ in server.seen] == ["/1", "/2", "/3", "/a"]

    def test_a_chunked_body(self, server: Server) -> None:
        def chunked(handler: Any) -> None:
            handler.send_response(200)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

        server.answers["/a.png"] = chunked
        assert reader(server).read(uri(server)) == b"abcde"
        assert refused(reader(server, max_bytes=4), uri(server), code=reasons.IMAGE_LIMIT)

    def test_the_next_address_where_one_does_not_answer(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve(monkeypatch, {HOST: [["127.0.0.3", OPEN]]})
        read = reader(server)
        read.public = lambda address: address != INSIDE
        assert read.read(uri(server)) == BODY


class TestAddresses:
    def test_a_resolver_that_changes_its_answer_is_asked_once(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolver = resolve(monkeypatch, {HOST: [[OPEN], [INSIDE]]})
        assert reader(server).read(uri(server)) == BODY
        assert resolver.asked == [HOST]
        assert "not public" in refused(reader(server), uri(server))
        assert len(server.seen) == 1

    def test_after_a_redirect_it_is_asked_and_checked_again(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve(monkeypatch, {HOST: [[OPEN], [INSIDE]]})
        server.answers["/1"] = "/2"
        assert "not public" in refused(reader(server), uri(server, "/1"))
        assert [path for path, _ in server.seen] == ["/1"]

    def test_one_address_inside_among_public_ones_is_enough(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for answer in ([OPEN, INSIDE], [INSIDE, OPEN]):
            resolve(monkeypatch, {HOST: [answer]})
            assert "not public" in refused(reader(server), uri(server))
        assert server.seen == []

    def test_the_name_is_verified_and_not_the_address(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve(monkeypatch, {"stranger.example": [[OPEN]], HOST: [[OPEN]]})
        read = reader(server, f"stranger.example:{server.port}")
        assert "certificate" in refused(read, uri(server, host="stranger.example"))
        monkeypatch.delenv("SSL_CERT_FILE")
        assert "certificate" in refused(reader(server), uri(server))
        assert server.seen == []

    def test_a_host_that_is_not_found(self, server: Server) -> None:
        read = reader(server, f"absent.example:{server.port}")
        assert "not found" in refused(read, uri(server, host="absent.example"))

    def test_a_resolver_that_does_not_answer(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
        assert "input.images.stall_s = 0.1" in refused(reader(server, stall_s=0.1), uri(server))


class TestRedirects:
    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("http://images.example/a", "http and other schemes are never fetched"),
            ("http://127.0.0.1/latest/meta-data", "http and other schemes"),
            ("https://127.0.0.1/", "input.images.https_hosts"),
            ("https://unlisted.example/", "input.images.https_hosts"),
            ("//unlisted.example/", "input.images.https_hosts"),
            ("https://images.example/", "input.images.https_hosts"),  # another port
            ("file:///etc/passwd", "http and other schemes"),
            ("ftp://images.example/a", "http and other schemes"),
            ("data:image/png;base64,QUJD", "http and other schemes"),
            ("https://user@images.example/", "without credentials"),
            ("https://images.example\\@unlisted.example/", "no https URI"),
        ],
    )
    def test_elsewhere_is_refused(self, server: Server, place: str, why: str) -> None:
        server.answers["/1"] = place
        assert why in refused(reader(server), uri(server, "/1"))
        assert len(server.seen) == 1

    def test_at_most_three(self, server: Server) -> None:
        server.answers |= {f"/{i}": f"/{i + 1}" for i in range(1, 9)}
        assert refused(reader(server), uri(server, "/1")) == "more than 3 redirects"
        assert len(server.seen) == 4
        server.answers["/loop"] = "/loop"
        assert refused(reader(server), uri(server, "/loop")) == "more than 3 redirects"


class TestLimits:
    def test_bytes_are_limited_as_stated_and_as_sent(self, server: Server) -> None:
        def endless(handler: Any) -> None:
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(bytes(1000))

        server.answers["/stated"] = lambda handler: handler.respond(b"", length=10**12)
        server.answers["/sent"] = endless
        read = reader(server, max_bytes=len(BODY))
        assert read.read(uri(server)) == BODY
        for path in ("/stated", "/sent"):
            assert "input.images.max_bytes" in refused(
                read, uri(server, path), code=reasons.IMAGE_LIMIT
            )

    def test_a_short_answer(self, server: Server) -> None:
        server.answers["/a.png"] = lambda handler: handler.respond(BODY, length=len(BODY) + 1)
        assert refused(reader(server, stall_s=0.2), uri(server))

    @pytest.mark.parametrize(
        ("begin", "piece"),
        [
            (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
            (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
        ],
        ids=["body", "header", "interim answers", "chunk extension"],
    )
    def test_a_slow_drip_ends(self, server: Server, begin: bytes, piece: bytes) -> None:
        server.answers["/a.png"] = lambda handler: drip(handler, begin, piece)
        read = reader(server, stall_s=5, fetch_s=0.3)
        assert "input.images.fetch_s = 0.3" in refused(read, uri(server))

    def test_silence_ends(self, server: Server) -> None:
        server.answers["/a.png"] = lambda _: time.sleep(2)
        assert "input.images.stall_s = 0.2" in refused(reader(server, stall_s=0.2), uri(server))

    def test_silence_in_the_handshake_ends(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server((OPEN, 0)) as silent:
            port = silent.getsockname()[1]
            read = reader(server, f"{HOST}:{port}", stall_s=0.2)
            assert "input.images.stall_s" in refused(read, f"https://{HOST}:{port}/")

    def test_content_codings_are_not_decoded(self, server: Server) -> None:
        server.answers["/a.png"] = lambda h: h.respond(b"x", Content_Encoding="gzip")
        assert "content coding" in refused(reader(server), uri(server))

    @pytest.mark.parametrize("status", [201, 204, 206, 304, 401, 403, 404, 407, 500, 503])
    def test_other_answers(self, server: Server, status: int) -> None:
        def answer(handler: Any) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        server.answers["/a.png"] = answer
        assert refused(reader(server), uri(server)) == f"the server answered with status {status}"

    def test_what_is_no_http(self, server: Server) -> None:
        server.answers["/a.png"] = lambda handler: handler.wfile.write(b"\x89PNG\r\n\x1a\n" * 9)
        assert refused(reader(server), uri(server))
