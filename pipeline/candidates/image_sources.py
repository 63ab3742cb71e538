"""Where the images of candidates come from: bytes in the table, or places that may be read.

Values in a table come from outside, so what may be fetched is limited: known stores, ``https``
only where allowed and only from public addresses, relative paths only below their base. Everything
that goes wrong with one image is an :class:`ImageError` with a reason code, never a failure of the
job.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import posixpath
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pipeline.candidates.reasons import IMAGE_FETCH, IMAGE_LIMIT
from pipeline.errors import ConfigurationError
from pipeline.storage.store import absolute, join, open_input

#: Schemes that are read without asking; ``https`` only where allowed, everything else never.
_SCHEMES: Final = frozenset({"file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})

#: Ranges that `ipaddress` calls global although they lead back inside: NAT64 and 6to4 carry any
#: IPv4 address, the others are the metadata services of clouds.
_INSIDE: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("64:ff9b::/96", "2002::/16", "::/96", "168.63.129.16/32", "192.0.0.192/32")
)


class ImageError(Exception):
    """One image cannot be used.

    Attributes:
        code: reason code: image_fetch, image_decode or image_limit.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


@dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """What may be fetched and decoded.

    Attributes:
        base: folder or URI that relative paths start from; None: there are none.
        allow_https: whether ``https`` is fetched at all.
        max_bytes: encoded bytes.
        max_pixels: width times height that the file's header states; Pillow itself stops at twice
            its own ``MAX_IMAGE_PIXELS``.
        max_side: longest side that the header states.
        formats: Pillow's names of the formats that are decoded.
    """

    base: str | None = None
    allow_https: bool = False
    max_bytes: int = 20 * 2**20
    max_pixels: int = 100_000_000
    max_side: int = 32_768
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def fetch(value: object, limits: ImageLimits) -> bytes:
    """Encoded bytes of an ``image`` value.

    Args:
        value: the bytes; a struct of ``bytes`` and ``path`` of which one is enough; or a string: a
            path, a URI, or a ``data:`` URI.
        limits: what may be fetched.

    Raises:
        ImageError: image_fetch where it is not there or may not be read, image_limit where it is
            too large.
        ConfigurationError: the library for a URI's scheme is not installed.
    """
    if isinstance(value, Mapping):
        inline = value.get("bytes")
        value = inline if inline is not None else value.get("path")
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value:
        raise ImageError(IMAGE_FETCH, "neither bytes nor a path")
    if value.startswith("data:"):
        return _inline(value, limits)
    return _read(locate(value, limits), limits)


def locate(uri: str, limits: ImageLimits) -> str:
    """The absolute path or URI that an image value names, if it may be read.

    Raises:
        ImageError: image_fetch: the scheme is not allowed, a relative path has no base or leaves
            it, or the host is not a public one.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if "::" in uri or "\0" in uri:
        raise ImageError(IMAGE_FETCH, "chained URIs are not read")
    if scheme == "https":
        if not limits.allow_https:
            raise ImageError(IMAGE_FETCH, "https is not allowed; see images_allow_https")
        _refuse_inside(uri)
        return uri
    if scheme:
        if scheme not in _SCHEMES:
            raise ImageError(IMAGE_FETCH, f"scheme '{scheme}' is not read")
        return uri
    if uri.startswith("/"):
        return uri
    if limits.base is None:
        raise ImageError(IMAGE_FETCH, "a relative path without image_base")
    inner = posixpath.normpath(uri)
    if inner == ".." or inner.startswith("../"):
        raise ImageError(IMAGE_FETCH, "the path leaves image_base")
    return locate(join(absolute(limits.base), inner), limits)


def _read(uri: str, limits: ImageLimits) -> bytes:
    try:
        with open_input(uri) as file:
            data = file.read(limits.max_bytes + 1)
    except ConfigurationError:
        raise
    except Exception as error:  # every store has exceptions of its own
        raise ImageError(IMAGE_FETCH, f"{type(error).__name__}: {error}") from None
    if len(data) > limits.max_bytes:
        raise ImageError(IMAGE_LIMIT, f"more than {limits.max_bytes} bytes")
    return data


def _inline(uri: str, limits: ImageLimits) -> bytes:
    head, _, payload = uri.partition(",")
    if not head.endswith(";base64"):
        raise ImageError(IMAGE_FETCH, "a data URI that is not base64")
    if len(payload) > limits.max_bytes * 4 // 3 + 4:
        raise ImageError(IMAGE_LIMIT, f"more than {limits.max_bytes} bytes")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(IMAGE_FETCH, f"not base64: {error}") from None


def _refuse_inside(uri: str) -> None:
    """Refuse a host with any address that is not public."""
    try:
        parts = urlsplit(uri)
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        raise ImageError(IMAGE_FETCH, f"host not found: {error}") from None
    for *_, address in found:
        if not is_public(str(address[0])):
            raise ImageError(IMAGE_FETCH, "the host has an address that is not public")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet and no way back inside."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if mapped is not None:
        ip = mapped
    if not ip.is_global or ip.is_multicast:
        return False
    return not any(ip in network for network in _INSIDE if network.version == ip.version)
