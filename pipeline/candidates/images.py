"""Images of candidates: fetched, checked before they are decoded, decoded and resized by Pillow.

The pixels are those of Qwen2-VL's image processor with its Pillow backend, bit for bit: EXIF
orientation, conversion to RGB (transparency is dropped, not composited), sides rounded to a
multiple of the patch block, bicubic. Values in a table come from outside, so what may be fetched
and how much of it is decoded is limited, and everything that goes wrong with one image is an
:class:`ImageError` with a reason code, never a failure of the job.
"""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import math
import posixpath
import socket
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.candidates.reasons import IMAGE_DECODE, IMAGE_FETCH, IMAGE_LIMIT
from pipeline.errors import ConfigurationError
from pipeline.storage.store import join, open_input

#: Schemes that are read without asking; ``https`` only where allowed, everything else never.
_SCHEMES: Final = frozenset({"file", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})

#: Longest side over shortest; beyond it Qwen2-VL's processor refuses an image.
_MOST_ELONGATED: Final = 200

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


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """What an image is resized to.

    Attributes:
        factor: both sides become a multiple of it (patch size times merged patches per side).
        min_pixels: smaller images are enlarged.
        max_pixels: larger images are reduced.
    """

    factor: int = 28
    min_pixels: int = 3_136
    max_pixels: int = 602_112

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing, in pixels; ``smart_resize`` of Qwen2-VL's processor.

        Halves are rounded to even (70 / 28 = 2.5 becomes 2), as Python's ``round`` does.

        Raises:
            ImageError: one side is more than 200 times the other.
        """
        if max(height, width) / min(height, width) > _MOST_ELONGATED:
            raise ImageError(
                IMAGE_LIMIT,
                f"{width} x {height}: one side is over {_MOST_ELONGATED} times the other",
            )
        factor = self.factor
        rows, columns = round(height / factor), round(width / factor)
        if rows * columns * factor**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            rows = max(1, math.floor(height / shrink / factor))
            columns = max(1, math.floor(width / shrink / factor))
        elif rows * columns * factor**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
        return rows * factor, columns * factor


def pixels(data: bytes, limits: ImageLimits, size: ImageSize) -> npt.NDArray[np.uint8]:
    """uint8 RGB [height, width, 3] of an encoded image, both sides multiples of ``size.factor``.

    Raises:
        ImageError: it is no image, is damaged, or exceeds a limit.
    """
    image = decode(data, limits)
    height, width = size.fit(image.height, image.width)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """The first frame in RGB, turned as its EXIF orientation says.

    Raises:
        ImageError: image_limit before anything is decoded, image_decode for any defect.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(IMAGE_LIMIT, f"more than {limits.max_bytes} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; size is checked below
            with Image.open(io.BytesIO(data), formats=limits.formats) as opened:
                _check_header(opened, limits)
                return ImageOps.exif_transpose(opened).convert("RGB")
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError(IMAGE_LIMIT, str(error)) from None
    except Exception as error:  # Pillow's decoders raise nearly every built-in class
        raise ImageError(IMAGE_DECODE, f"{type(error).__name__}: {error}") from None


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    if image.width * image.height > limits.max_pixels or max(image.size) > limits.max_side:
        raise ImageError(
            IMAGE_LIMIT,
            f"{image.width} x {image.height} is over {limits.max_pixels} pixels or "
            f"{limits.max_side} on a side",
        )


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
    return join(limits.base, inner)


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
