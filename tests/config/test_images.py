"""What may be named in ``input.images``, and what is refused there."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config import ImagesConfig
from pipeline.config.images import host_and_port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Images.Example", ("images.example", 443)),
        ("images.example:8443", ("images.example", 8443)),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example", 443)),
        ("my_images.example", ("my_images.example", 443)),
        ("93.184.215.14", ("93.184.215.14", 443)),
        ("[2606:2800:0220::1]:444", ("2606:2800:220::1", 444)),
    ],
)
def test_hosts(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected
    assert ImagesConfig(https_hosts=(text,)).https_hosts == (text,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*.example.com", "wildcards"),
        (".example.com", "no host name"),
        ("example.com.", "final dots"),
        ("https://example.com", "port"),
        ("example.com/photos", "no host name"),
        ("user@example.com", "users"),
        ("bücher.example", "xn--"),
        ("2130706433", "read differently"),
        ("0x7f.1", "read differently"),
        ("0177.0.0.1", "read differently"),
        ("127.1", "read differently"),
        ("example.com:", "port"),
        ("example.com:0", "port"),
        ("[::1", "brackets"),
        ("[fe80::1%eth0]", "zone"),
        ("2606:2800::1", "brackets"),
    ],
)
def test_hosts_that_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        ImagesConfig(https_hosts=(text,))


@pytest.mark.parametrize("root", ["/data", "data", "file:///data", "s3://b", "gs://b/photos/"])
def test_roots(root: str) -> None:
    assert ImagesConfig(base=root, roots=(root,)).roots == (root,)
    assert ImagesConfig(roots=root).roots == (root,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("https://images.example", "https_hosts"),
        ("http://images.example", "https_hosts"),
        ("hdfs://host/x", "not read from 'hdfs'"),
        ("zip://a::s3://b", "not read from 'zip'"),
        ("s3://a::s3://b", "not read from 's3'"),
        ("s3://", "a bucket"),
        ("s3://bucket/../x", "without '.'"),
        ("s3://KEY:SECRET@bucket/x", "holds credentials"),
        ("a\0b", "zero character"),
    ],
)
def test_roots_that_are_refused(root: str, why: str) -> None:
    for given in ({"base": root}, {"roots": [root]}):
        with pytest.raises(ValidationError, match=why):
            ImagesConfig.model_validate(given)


def test_times_do_not_decide_what_is_read() -> None:
    content = ImagesConfig(base="/data").content()
    assert content == ImagesConfig(base="/data", stall_s=1, fetch_s=2, decode_s=3).content()
    for other in ({"base": "/other"}, {"roots": ["/x"]}, {"https_hosts": ["h"]}, {"max_bytes": 9}):
        assert content != ImagesConfig.model_validate({"base": "/data", **other}).content()
