"""What an image value may name: nothing but bytes until it is allowed, and then only that."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

import pipeline.images.sources as sources
from pipeline.candidates import reasons
from pipeline.config import ImagesConfig
from pipeline.images.errors import ImageError
from pipeline.images.sources import ImageSource
from pipeline.storage.store import write_whole
from tests.images.test_addresses import INSIDE

GOLDEN = Path(__file__).parents[1] / "goldens/jina-reranker-m0"
NAME = "images/noise_84x84.png"

#: URIs and paths that people have tried to reach something with that was not meant for them.
VECTORS = [
    # https to addresses inside, also where the host is named
    *(f"https://{f'[{a}]' if ':' in a else a}/" for a in INSIDE if a),
    "https://localhost.localdomain/",
    "https://metadata.google.internal/computeMetadata/v1/",
    "https://instance-data/latest/",
    "https://0/",
    "https://127.0.0.1:6379/",
    "https://017700000001/",
    "https://0x7f.1/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "https://127\u30020\u30020\u30021/",
    "HTTPS://127.0.0.1/",
    # parsers that disagree about the host
    "https://user@images.example/",
    "https://user:secret@images.example/",
    "https://images.example@127.0.0.1/",
    "https://images.example:443@127.0.0.1/",
    "https://127.0.0.1#@images.example/",
    "https://127.0.0.1\\@images.example/",
    "https://images.example\\@127.0.0.1/",
    "https://images.example%00.evil.example/",
    "https://images.example%2eevil.example/",
    "https://images.example;evil.example/",
    "https://images.example&evil.example/",
    "https:///images.example/",
    "https:////images.example/",
    "https://images.example :443/",
    "https://images.example:/",
    "https://images.example:0/",
    "https://images.example:99999/",
    "https://images.example:44\u0663/",
    "https://\timages.example/",
    "https://images.example/\r\nHost: inside",
    "https://images.example/a b",
    " https://images.example/",
    "https://[::1/",
    "https://[images.example]/",
    # near the name that is allowed
    "https://images.example./",
    "https://images.example:8443/",
    "https://images.example.evil.example/",
    "https://evil-images.example/",
    "https://sub.images.example/",
    "https://example/",
    "https://images.ex\u0430mple/",
    "https://xn--images-9xf.example/",
    "https://\u0131mages.example/",
    "https://image\u017f.example/",
    # other schemes
    "http://images.example/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "ftp://images.example/a.png",
    "gopher://127.0.0.1:6379/_x",
    "sftp://host/x",
    "smb://host/x",
    "hf://owner/name",
    "github://a:b@c/x",
    "git://host/x",
    "webhdfs://host/x",
    "dask://host/x",
    "local:///etc/passwd",
    "jar:file:///etc/passwd",
    "simplecache::file:///etc/passwd",
    "filecache://etc/passwd",
    "zip://a.png::file:///etc/passwd",
    "zip://a.png::https://images.example/a.zip",
    "reference://x",
    "cached://x",
    "//etc/passwd",
    "\\\\host\\share",
    "javascript:alert(1)",
    # files outside
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "file:///%65tc/passwd",
    "file://images.example/etc/passwd",
    "file:/etc/passwd",
    "file:etc/passwd",
    "file:///etc/passwd?x",
    "file:///etc/passwd#x",
    "../secret.png",
    "images/../../secret.png",
    "images/%2e%2e/%2e%2e/secret.png",
    "..\\secret.png",
    "images\0/a.png",
    # buckets
    "s3://other/private.png",
    "s3://bucket-of-others/photos/a.png",
    "s3://bucket/photosecret/a.png",
    "s3://bucket/photos",
    "s3://bucket/photos/../private.png",
    "s3://bucket/photos/%2e%2e/private.png",
    "s3://bucket/photos/%252e%252e/private.png",
    "s3://bucket/photos/..%2fprivate.png",
    "s3://bucket/photos/..\\private.png",
    "s3://bucket/photos/./a.png",
    "s3://KEY:SECRET@bucket/photos/a.png",
    "s3://other@bucket/photos/a.png",
    "s3://bucket:80/photos/a.png",
    "s3://bucket/photos/a.png::memory://b",
    "s3://bucket/photos/a.png?X-Amz-Signature=abc",
    "S3://bucket/photos/a.png",
    "s3a://bucket/photos/a.png",
    "s3:/bucket/photos/a.png",
    "gs://bucket/photos/a.png",
    "abfs://container@account/a.png",
    "memory://elsewhere/a.png",
    # neither
    "",
    "data:image/png,notbase64",
    "data:image/png;base64,%%%",
    "data:text/html;charset=utf-8;base64",
    "\u202egnp.a",
]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What stores and resolvers are asked; a resolver knows loopback addresses only."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def open_input(uri: str) -> None:
        asked.append(uri)
        raise AssertionError(uri)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sources, "open_input", open_input)
    return asked


def refused(source: ImageSource, value: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        source.read(value)
    return caught.value


def test_there_are_enough_of_them() -> None:
    assert len(set(VECTORS)) == len(VECTORS) > 140


@pytest.mark.parametrize("value", VECTORS, ids=ascii)
def test_refused_by_default(opened: list[str], value: str) -> None:
    assert refused(ImageSource(ImagesConfig()), value).code == reasons.IMAGE_FETCH
    assert opened == []


@pytest.mark.parametrize("value", VECTORS, ids=ascii)
def test_refused_though_something_near_is_allowed(
    opened: list[str], value: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "root/images").mkdir(parents=True)
    images = ImagesConfig(
        base=str(tmp_path / "root"),
        roots=("s3://bucket/photos", "memory://shared/"),
        https_hosts=("images.example",),
    )
    assert refused(ImageSource(images), value).code == reasons.IMAGE_FETCH
    assert opened == []


@pytest.mark.parametrize("address", [a for a in INSIDE if a])
def test_a_named_host_with_an_address_inside(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    source = ImageSource(ImagesConfig(https_hosts=("images.example",)))
    assert "not public" in refused(source, "https://images.example/").detail


def test_every_form_of_an_allowed_value_is_the_same_image(tmp_path: Path) -> None:
    path = GOLDEN / NAME
    data = path.read_bytes()
    inline = base64.b64encode(data).decode()
    odd = tmp_path / "a b#c?d%20é.png"
    odd.write_bytes(data)
    source = ImageSource(ImagesConfig(base=str(GOLDEN), roots=(tmp_path.as_uri(),)))
    for form in [
        data,
        {"bytes": data, "path": None},
        {"bytes": None, "path": NAME},
        {"bytes": data, "path": "s3://elsewhere/never/read.png"},
        NAME,
        f"./images/../{NAME}",
        str(path),
        path.as_uri(),
        str(odd),
        odd.as_uri(),
        odd.as_uri().replace("file://", "FILE://localhost"),
        f"data:image/png;base64,{inline}",
        f"DATA:;BASE64,{inline}",
    ]:
        assert source.read(form) == data


@pytest.mark.parametrize("value", [{"bytes": None, "path": None}, {}, 7, None, True])
def test_what_names_nothing(value: object) -> None:
    assert refused(ImageSource(ImagesConfig()), value).code == reasons.IMAGE_FETCH


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        ("a.png", "input.images.base"),
        ("/data/a.png", "input.images.roots"),
        ("s3://bucket/a.png", "input.images.roots"),
        ("https://images.example/a.png", "input.images.https_hosts"),
        ("hdfs://host/a.png", "input.images.roots"),
    ],
)
def test_the_sentence_names_the_setting(tmp_path: Path, value: str, setting: str) -> None:
    if value.startswith("/"):
        value = str(tmp_path / "a.png")
        Path(value).touch()
    assert setting in refused(ImageSource(ImagesConfig()), value).detail


def test_stores_are_read_below_their_prefixes() -> None:
    for name in ("base/a/b.png", "shared/x #1?é.png", "shared-not/c.png"):
        write_whole(f"memory://bucket/{name}", name.encode())
    images = ImagesConfig(base="memory://bucket/base/", roots=("memory://bucket/shared",))
    source = ImageSource(images)
    for value in ("a/b.png", "./a/../a/b.png", "memory://bucket/base/a/b.png"):
        assert source.read(value) == b"base/a/b.png"
    assert source.read("memory://bucket/shared/x #1?é.png") == "shared/x #1?é.png".encode()
    for value in (
        "../shared/x.png",
        "memory://bucket/shared-not/c.png",
        "memory://bucket/base/absent.png",
    ):
        assert refused(source, value).code == reasons.IMAGE_FETCH


def test_bytes_are_limited_while_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(b"x" * 2_000)
    write_whole("memory://bytes/large.png", b"x" * 2_000)
    roots = (str(tmp_path), "memory://bytes")
    for value in (
        str(tmp_path / "large.png"),
        "memory://bytes/large.png",
        "data:;base64," + "A" * 4_000,
    ):
        small = ImageSource(ImagesConfig(roots=roots, max_bytes=1_999))
        assert refused(small, value).code == reasons.IMAGE_LIMIT
        assert ImageSource(ImagesConfig(roots=roots, max_bytes=3_000)).read(value)
