"""Files of a run, wherever they lie: list with identity, read, and publish whole or not at all.

Paths are plain local paths or fsspec URIs. Credentials, endpoints and regions come from the
environment (``AWS_*`` and the like), never from a configuration file.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.errors import ConfigurationError, NotFoundError


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """One input file and the version of it that a plan was made for.

    Attributes:
        path: absolute local path or full URI.
        size: bytes.
        version: the store's ETag or generation where it has one, else modification time in ns.
    """

    path: str
    size: int
    version: str


def list_files(pattern: str, *, suffix: str = ".parquet") -> list[FileIdentity]:
    """Files that ``pattern`` names: one file, every ``suffix`` file below a folder, or a glob.

    Names that start with ``_`` or ``.`` inside a folder are skipped, as every Parquet reader does.

    Returns:
        Files sorted by path.

    Raises:
        NotFoundError: nothing matches, or the store cannot be reached.
    """
    fs, path = _resolve(pattern)
    try:
        if glob.has_magic(path) and not fs.exists(path):
            found = [name for name in fs.glob(path) if not fs.isdir(name)]
        elif fs.isdir(path):
            found = [name for name in fs.find(path) if _is_data(name, path, suffix)]
        else:
            found = [path] if fs.exists(path) else []
        identities = [_identity(fs, name) for name in found]
    except (OSError, PermissionError) as error:
        raise NotFoundError(f"{pattern}: cannot be listed: {error}") from error
    if not identities:
        raise NotFoundError(f"{pattern}: no file found; expected a {suffix} file, folder or glob")
    return sorted(identities, key=lambda identity: identity.path)


def list_names(folder: str) -> list[str]:
    """File names directly in ``folder``, sorted; empty when the folder is absent."""
    fs, path = _resolve(folder)
    fs.invalidate_cache(path)
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file")


def list_folders(folder: str) -> list[str]:
    """Names of the folders directly in ``folder``, sorted; empty when it is absent."""
    fs, path = _resolve(folder)
    fs.invalidate_cache(path)
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(
        entry["name"].rstrip("/").rsplit("/", 1)[-1]
        for entry in found
        if entry["type"] == "directory"
    )


def identify(path: str) -> FileIdentity:
    """The identity that ``path`` has now.

    Raises:
        NotFoundError: the file is gone.
    """
    fs, name = _resolve(path)
    try:
        fs.invalidate_cache(name)
        return _identity(fs, name)
    except OSError as error:
        raise NotFoundError(f"{path}: {error}") from error


def exists(path: str) -> bool:
    """Whether a file is at ``path``."""
    fs, name = _resolve(path)
    fs.invalidate_cache(name)
    return bool(fs.exists(name))


def is_folder(path: str) -> bool:
    """Whether ``path`` is a folder."""
    fs, name = _resolve(path)
    return bool(fs.isdir(name))


def open_input(path: str) -> BinaryIO:
    """A seekable binary reader.

    Raises:
        NotFoundError: no such file, or no permission.
    """
    fs, name = _resolve(path)
    try:
        return cast(BinaryIO, fs.open(name, "rb"))
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be opened: {error}") from error


def read_bytes(path: str) -> bytes:
    """Whole content of a file; raises :class:`NotFoundError` where there is none."""
    with open_input(path) as file:
        return file.read()


def write_whole(path: str, data: bytes) -> None:
    """Write or replace ``path`` so that a reader sees the old content or the new, never a part."""
    fs, name = _resolve(path)
    if _is_local(fs):
        temporary = _write_temporary(name, data)
        Path(temporary).replace(name)
        _sync_folder(Path(name).parent)
    else:
        fs.pipe_file(name, data)


def create_if_absent(path: str, data: bytes) -> bool:
    """Create ``path`` with ``data`` in one step, unless it exists.

    Locally: temporary file, fsync, hard link (which refuses an existing name), folder fsync. On
    object stores: one conditional PutObject (``If-None-Match: *``).

    Returns:
        True when this call created the file, False when it was there already.
    """
    fs, name = _resolve(path)
    if _is_local(fs):
        return _link_if_absent(name, data)
    try:
        fs.pipe_file(name, data, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        # s3fs maps a 412 without a <Condition> element (Ceph, Swift) to EINVAL.
        if error.errno == errno.EINVAL and exists(path):
            return False
        raise
    return True


def join(folder: str, *names: str) -> str:
    """``folder/name/...`` for local paths and URIs alike."""
    return "/".join([folder.rstrip("/"), *names])


def absolute(path: str) -> str:
    """A local path made absolute; a URI as it is."""
    return path if "://" in path else str(Path(path).expanduser().resolve())


def fetch_folder(uri: str, destination: Path) -> None:
    """Copy every file below a remote folder to a local one.

    Raises:
        NotFoundError: the folder is absent, empty, or cannot be read.
    """
    fs, path = _resolve(uri)
    try:
        names = fs.find(path)
    except OSError as error:
        raise NotFoundError(f"{uri}: cannot be listed: {error}") from error
    if not names:
        raise NotFoundError(f"{uri}: no files there; expected a checkpoint folder")
    for name in names:
        target = destination / name[len(path) :].strip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        fs.get_file(name, str(target))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a local file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve(path: str) -> tuple[Any, str]:
    try:
        fs, name = url_to_fs(absolute(path))
    except (ValueError, ImportError) as error:
        known = ", ".join(sorted(p for p in ("file", "s3", "gs", "memory", "https")))
        raise ConfigurationError(f"{path}: {error}; use a local path or one of: {known}") from None
    return fs, name


def _is_local(fs: fsspec.AbstractFileSystem) -> bool:
    return isinstance(fs, LocalFileSystem)


def _is_data(name: str, folder: str, suffix: str) -> bool:
    parts = name[len(folder) :].strip("/").split("/")
    return name.endswith(suffix) and not any(part.startswith(("_", ".")) for part in parts)


def _identity(fs: Any, name: str) -> FileIdentity:
    info = fs.info(name)
    if _is_local(fs):
        return FileIdentity(
            path=name, size=info["size"], version=str(Path(name).stat().st_mtime_ns)
        )
    version = info.get("ETag") or info.get("etag") or info.get("generation") or info.get("created")
    return FileIdentity(
        path=fs.unstrip_protocol(name), size=info["size"], version=str(version).strip('"')
    )


def _write_temporary(name: str, data: bytes) -> str:
    folder = Path(name).parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{Path(name).name}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
    except BaseException:
        Path(temporary).unlink()
        raise
    return temporary


def _link_if_absent(name: str, data: bytes) -> bool:
    temporary = _write_temporary(name, data)
    try:
        os.link(temporary, name)
    except FileExistsError:
        return False
    finally:
        Path(temporary).unlink()
    _sync_folder(Path(name).parent)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
