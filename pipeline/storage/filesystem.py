"""Stores that are neither a local disk nor S3, by way of their fsspec file system.

Retries and time limits are those of the file system. What is created is created exclusively where
the file system can (``mode="create"``); a compare-and-swap is not part of fsspec.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from fsspec.core import url_to_fs

from pipeline.errors import AccessDeniedError, ConfigurationError, RerankError, StorageError
from pipeline.storage.backend import Backend, refuse_size
from pipeline.storage.content import changed, is_whole_hash, verified_bytes
from pipeline.storage.files import FILE, FOLDER, Entry, FileIdentity
from pipeline.storage.patterns import PathPattern

R = TypeVar("R")

#: What file systems call the version of an object.
_NAMED = ("generation", "ETag", "etag")


def _explained(method: Callable[..., R]) -> Callable[..., R]:
    """Turn what the library of a store raises into an error that names the path."""

    @functools.wraps(method)
    def explained(self: Any, path: Any, *others: Any, **named: Any) -> R:
        try:
            return method(self, path, *others, **named)
        except RerankError:
            raise
        except PermissionError as error:
            raise denied(str(getattr(path, "path", path)), error) from error
        except Exception as error:  # of whatever library it is
            said = " ".join(str(error).split()) or "no reason was given"
            place = getattr(path, "path", path)
            raise StorageError(f"{place}: {type(error).__name__}: {said}") from error

    return explained


class Filesystem(Backend):
    """Any fsspec URI."""

    def __init__(self) -> None:
        #: The file that was read whole last: what it had to be, what it was, and its content.
        self._last: tuple[tuple[FileIdentity, FileIdentity], bytes] | None = None

    @_explained
    def stat(self, path: str) -> FileIdentity | None:
        """Size, and what the file system has for a version."""
        fs, name = resolve(path)
        try:
            info = fs.info(name)
        except FileNotFoundError:
            return None
        return None if info["type"] == "directory" else _identity(fs, info)

    @_explained
    def is_folder(self, path: str) -> bool:
        """What the file system calls a directory."""
        fs, name = resolve(path)
        return bool(fs.isdir(name))

    @_explained
    def find(self, folder: str) -> list[FileIdentity]:
        """Recursive listing."""
        fs, name = resolve(folder)
        return [_identity(fs, info) for info in fs.find(name, detail=True).values()]

    @_explained
    def glob(self, pattern: str, endings: tuple[str, ...]) -> list[FileIdentity]:
        """Lists what lies below the deepest folder without wildcards."""
        fs, name = resolve(pattern)
        wanted = PathPattern(name, endings)
        found = fs.find(wanted.folder, detail=True).values()
        return [_identity(fs, info) for info in found if wanted.takes(info["name"])]

    @_explained
    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """One listing."""
        fs, name = resolve(folder)
        try:
            found = fs.ls(name, detail=True)
        except FileNotFoundError:
            return [], []
        names: dict[str, list[str]] = {"file": [], "directory": []}
        for info in found:
            names[info["type"]].append(info["name"].rstrip("/").rpartition("/")[2])
        return names["file"], names["directory"]

    @_explained
    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """Where the content is known, it is read whole and checked before anything is parsed.

        Otherwise what the file system says of it is compared, once, when it is opened.
        """
        file = self.stat(path)
        if file is None:
            return None
        if expected is not None and is_whole_hash(expected.version):
            return self._whole(path, expected, file)
        if expected is not None and (file.size, file.token) != (expected.size, expected.token):
            raise changed(path, f"version {expected.token} -> {file.token}")
        fs, name = resolve(path)
        try:
            return self._reader(fs, name, file)
        except PermissionError as error:
            raise denied(path, error) from error

    def _reader(self, fs: Any, name: str, file: FileIdentity) -> BinaryIO:
        """A reader of what :meth:`stat` found."""
        return cast(BinaryIO, fs.open(name, "rb"))

    def _whole(self, path: str, expected: FileIdentity, file: FileIdentity) -> BinaryIO | None:
        # Units of one file follow one another; the file is small, see input.hash_mib.
        kept = self._last
        if kept is None or kept[0] != (expected, file):
            read = self.read(path)
            if read is None:
                return None
            kept = self._last = ((expected, file), verified_bytes(read[0], expected).read())
        return io.BytesIO(kept[1])

    @_explained
    def entries(self, folder: str) -> list[Entry]:
        """One listing."""
        fs, name = resolve(folder)
        try:
            found = fs.ls(name, detail=True)
        except FileNotFoundError:
            return []
        return [
            Entry(
                name=info["name"].rstrip("/").rpartition("/")[2],
                kind=FOLDER if info["type"] == "directory" else FILE,
                size=int(info.get("size") or 0),
            )
            for info in found
            if info["name"].rstrip("/") != name.rstrip("/")  # some list the folder itself as well
        ]

    @_explained
    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """Content and version, from two requests."""
        file = self.stat(path)
        if file is None:
            return None
        refuse_size(path, file.size, most_bytes)
        fs, name = resolve(path)
        return bytes(fs.cat_file(name)), file.version

    @_explained
    def write(self, path: str, data: bytes) -> None:
        """``pipe_file``."""
        fs, name = resolve(path)
        try:
            fs.pipe_file(name, data)
        except PermissionError as error:
            raise denied(path, error) from error

    @_explained
    def create(self, path: str, data: bytes) -> bool:
        """``pipe_file`` in mode ``create``."""
        fs, name = resolve(path)
        try:
            fs.pipe_file(name, data, mode="create")
        except FileExistsError:
            return False
        except PermissionError as error:
            raise denied(path, error) from error
        return True

    @_explained
    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """Refused: fsspec has no compare-and-swap."""
        scheme = path.partition("://")[0]
        raise ConfigurationError(
            f"{path}: {scheme}:// has no compare-and-swap here; put the output on s3://, gs:// or "
            "a local disk"
        )

    @_explained
    def delete(self, path: str) -> None:
        """``rm_file``."""
        fs, name = resolve(path)
        try:
            fs.rm_file(name)
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise denied(path, error) from error

    def arrow_place(self, path: str) -> tuple[Any, str]:
        """That of the URI."""
        return resolve(path)

    def remove_empty(self, folder: str) -> None:
        """Nothing: most have no folders, and an empty one harms nobody."""

    @_explained
    def modified(self, folder: str) -> datetime | None:
        """What the file system calls ``LastModified``, ``updated``, ``mtime`` or ``created``."""
        fs, name = resolve(folder)
        found = [_time_of(info) for info in fs.find(name, detail=True).values()]
        times = [time for time in found if time is not None]
        if len(times) < len(found):
            raise StorageError(f"{folder}: this store does not say when files were written")
        return max(times, default=None)

    @_explained
    def fetch(self, file: FileIdentity, target: Path) -> None:
        """``get_file``."""
        fs, name = resolve(file.path)
        fs.get_file(name, str(target))


def resolve(path: str) -> tuple[Any, str]:
    """The file system of a URI, its listings forgotten, and the name in it.

    Raises:
        ConfigurationError: nothing knows the scheme, or its library is not installed.
    """
    try:
        fs, name = url_to_fs(path)
    except (ValueError, ImportError) as error:
        known = ", ".join(("file", "gs", "https", "memory", "s3"))
        raise ConfigurationError(f"{path}: {error}; use a local path or one of: {known}") from None
    fs.invalidate_cache()
    return fs, name


def denied(path: str, error: Exception) -> AccessDeniedError:
    """The error for a store that refuses the credentials of the environment."""
    return AccessDeniedError(
        f"{path}: access denied ({error}); check the credentials in the environment and what they "
        "allow: get, put, delete and list below this path"
    )


def _identity(fs: Any, info: dict[str, Any]) -> FileIdentity:
    keys = ("generation", "ETag", "etag", "mtime", "LastModified", "created")
    key = next((key for key in keys if info.get(key)), None)
    version = "" if key is None else str(info[key]).strip('"')
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    # A web server makes its ETag of what it likes, mostly of size and time.
    named = key in _NAMED and not protocols & {"http", "https"} and not version.startswith("W/")
    return FileIdentity(
        path=fs.unstrip_protocol(info["name"]),
        size=int(info.get("size") or 0),
        version=version,
        token=version,
        strong=named,
    )


def _time_of(info: dict[str, Any]) -> datetime | None:
    """When a file was written; None where its file system does not say."""
    keys = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
    for value in (info.get(key) for key in keys):
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value if value.tzinfo else value.replace(tzinfo=UTC)
    return None
