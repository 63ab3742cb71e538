"""Encoded images from the values of an image column: bytes, ``data:``, or places that are allowed.

Values come from outside. A place is read where the job's ``input.images`` names the folder, the
bucket and prefix, or the host that it is in; everything else is refused by a sentence that names
the setting.
"""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from pipeline.candidates.reasons import IMAGE_FETCH, IMAGE_LIMIT
from pipeline.config import ImagesConfig
from pipeline.config.images import STORE_SCHEMES
from pipeline.errors import ConfigurationError
from pipeline.images.addresses import is_public
from pipeline.images.errors import ImageError
from pipeline.images.https import HttpsReader
from pipeline.images.local_files import read_below
from pipeline.plain_text import holds_credentials
from pipeline.storage.store import absolute, join, open_input

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_DECODINGS: Final = 3


class ImageSource:
    """What reads the images of a job, and only those that it allows; for several threads."""

    def __init__(self, images: ImagesConfig, *, public: Callable[[str], bool] = is_public) -> None:
        """Take the job's rules.

        Args:
            images: the rules.
            public: whether an IP address may be connected to.
        """
        self.images = images
        named = [root for root in (images.base, *images.roots) if root is not None]
        self.folders = [_local(root) for root in named if _store_scheme(root) is None]
        self.prefixes = [root.rstrip("/") + "/" for root in named if _store_scheme(root)]
        self.https = HttpsReader(images, public=public)

    def read(self, value: object) -> bytes:
        """Encoded bytes of an ``image`` value.

        Args:
            value: the bytes; a struct of ``bytes`` and ``path`` of which one is enough; or a
                string: a path, a URI, or a ``data:`` URI.

        Raises:
            ImageError: image_fetch where it is not there or may not be read, image_limit where it
                is too large.
            ConfigurationError: the library for a URI's scheme is not installed.
        """
        value = plain(value)
        if isinstance(value, bytes):
            return value
        if not isinstance(value, str) or not value:
            raise ImageError(IMAGE_FETCH, "neither bytes nor a path")
        if value[:5].lower() == "data:":
            return _inline(value, self.images.max_bytes)
        if _CONTROL.search(value):
            raise ImageError(IMAGE_FETCH, "a control character in a path")
        found = _SCHEME.match(value)
        if found is None:
            return self._path(value)
        scheme = found[1].lower()
        if scheme == "https":
            return self.https.read(value)
        if scheme == "file":
            return self._file(value[found.end() :])
        return self._store(value, scheme)

    def _path(self, path: str) -> bytes:
        if path.startswith("/"):
            return self._local_file(path)
        base = self.images.base
        if base is None:
            raise ImageError(
                IMAGE_FETCH, "a relative path; input.images.base says where those start"
            )
        if _store_scheme(base) is None:
            return self._local_file(posixpath.join(_local(base), path))
        inner = posixpath.normpath(path)
        if inner.split("/")[0] == "..":
            raise ImageError(IMAGE_FETCH, "the path leaves input.images.base")
        return self._store(join(base, inner), str(_store_scheme(base)))

    def _file(self, rest: str) -> bytes:
        """``file:///path`` and ``file://localhost/path``, percent-encoded (RFC 8089)."""
        host, slash, path = rest.partition("/")
        if host.lower() not in ("", "localhost") or not slash or "?" in path or "#" in path:
            raise ImageError(IMAGE_FETCH, "no file URI of this machine, such as file:///a/b.png")
        return self._local_file("/" + unquote(path, errors="surrogateescape"))

    def _local_file(self, path: str) -> bytes:
        return read_below(path, self.folders, most_bytes=self.images.max_bytes)

    def _store(self, uri: str, scheme: str) -> bytes:
        if scheme not in STORE_SCHEMES:
            raise ImageError(
                IMAGE_FETCH,
                f"images are not read from '{scheme}' URIs; put them into a folder or a bucket of "
                "input.images.roots",
            )
        if holds_credentials(uri):
            raise ImageError(
                IMAGE_FETCH, "credentials in a URI; they come from the environment of the workers"
            )
        if "::" in uri or leaves(uri.partition("://")[2]):
            raise ImageError(IMAGE_FETCH, "a chained URI, or one with '.' or '..' in its path")
        if not any(uri.startswith(prefix) for prefix in self.prefixes):
            raise ImageError(
                IMAGE_FETCH,
                "the URI lies below none of input.images.base and input.images.roots; name its "
                f"bucket and prefix there, such as {scheme}://bucket/photos, to allow it",
            )
        try:
            with open_input(uri) as file:
                data = file.read(self.images.max_bytes + 1)
        except ConfigurationError:
            raise
        except Exception as error:  # every store has exceptions of its own
            raise ImageError(IMAGE_FETCH, f"{type(error).__name__}: {error}") from None
        if len(data) > self.images.max_bytes:
            raise ImageError(
                IMAGE_LIMIT, f"more than input.images.max_bytes = {self.images.max_bytes}"
            )
        return data


def plain(value: object) -> object:
    """Of a struct its bytes, or its path where there are none; other values as they are."""
    if isinstance(value, Mapping):
        inline = value.get("bytes")
        return inline if inline is not None else value.get("path")
    return value


def leaves(path: str) -> bool:
    """Whether a store, or something on the way to it, may take a path for one further up.

    Stores themselves know no folders, but proxies and libraries resolve ``..``, also encoded, and
    some take a backslash for a slash.
    """
    for _ in range(_DECODINGS):
        if any(part in (".", "..") for part in path.replace("\\", "/").split("/")):
            return True
        path = unquote(path)
    return False


def _store_scheme(root: str) -> str | None:
    """The scheme of a root in an object store; None for a folder."""
    found = _SCHEME.match(root)
    return None if found is None or found[1].lower() == "file" else found[1].lower()


def _local(root: str) -> str:
    """The absolute folder that a root is."""
    path = root.removeprefix("file://")
    return absolute(path if path == root else unquote(path.removeprefix("localhost")))


def _inline(uri: str, most_bytes: int) -> bytes:
    head, comma, payload = uri.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise ImageError(IMAGE_FETCH, "a data URI that is not base64")
    if len(payload) > most_bytes * 4 // 3 + 4:
        raise ImageError(IMAGE_LIMIT, f"more than input.images.max_bytes = {most_bytes}")
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(IMAGE_FETCH, f"not base64: {error}") from None
