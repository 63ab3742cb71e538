"""Files of a run, wherever they lie: list with identity, read, publish whole or not at all.

What is there is found in :mod:`pipeline.storage.finding`, by names that are this module's as well.

Paths are plain local paths or URIs. Credentials, endpoints and regions come from the environment
(``AWS_*`` and the like), never from a configuration file.

Every function may raise :class:`AccessDeniedError` (the store refuses the credentials) and
:class:`StorageError` (it failed, and went on failing for as long as the policy allows).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.storage.files import Entry, FileIdentity, Temporary, Upload
from pipeline.storage.finding import (
    distinct_files,
    exists,
    files_below,
    identify,
    is_folder,
    last_modified,
    list_entries,
    list_files,
    list_folders,
    list_names,
    list_temporary,
    list_uploads,
    with_content,
)
from pipeline.storage.places import absolute, place_of

__all__ = [
    "Entry",
    "FileIdentity",
    "Temporary",
    "Upload",
    "abort_upload",
    "absolute",
    "arrow_place",
    "create_if_absent",
    "delete",
    "distinct_files",
    "exists",
    "fetch_files",
    "files_below",
    "identify",
    "is_folder",
    "join",
    "last_modified",
    "list_entries",
    "list_files",
    "list_folders",
    "list_names",
    "list_temporary",
    "list_uploads",
    "open_input",
    "open_own",
    "read_bytes",
    "read_versioned",
    "remove_empty",
    "replace_if_unchanged",
    "sha256_file",
    "with_content",
    "write_pieces",
    "write_whole",
]

_FETCHES = 4

#: Bytes that are hashed at once.
_HASHED = 4 << 20


def open_input(path: str, *, expected: FileIdentity | None = None) -> BinaryIO:
    """A seekable binary reader of one version of a file.

    Args:
        path: the file.
        expected: what it must be; None is what it is now. On S3 and GCS every read is bound to it,
            so that a file that is overwritten meanwhile is never read as a mixture; on a disk an
            open file stays what it was, unless it is written to in its place, which shows in the
            token that :func:`identify` gives afterwards.

    Raises:
        NotFoundError: no such file.
        InputContractError: the file is another version; also by a read, where it became one.
    """
    store, name = place_of(path)
    file = store.open(name, expected)
    if file is None:
        raise NotFoundError(f"{path}: cannot be opened: no such file")
    return file


def read_bytes(path: str) -> bytes:
    """Whole content of a file that a user names, which may be a link.

    Raises:
        NotFoundError: there is none; or it is a folder, a pipe or a device, which is not read.
    """
    store, name = place_of(path)
    try:
        found = store.read(name)
    except DamagedRunError:  # which says what to do about a file that a run made
        raise NotFoundError(
            f"{path}: is a folder, a pipe or a device; give the path of a regular file"
        ) from None
    if found is None:
        raise NotFoundError(f"{path}: cannot be opened: no such file")
    return found[0]


def open_own(path: str) -> BinaryIO | None:
    """A seekable reader of a file that a run made, see :func:`read_versioned`; None: no file."""
    store, name = place_of(path, resolve=False)
    return store.open_own(name)


def read_versioned(path: str, *, most_bytes: int | None = None) -> tuple[bytes, str] | None:
    """Content and version token, both of the same moment; None where there is no file.

    This and the functions that write are for files that a run makes: neither the file nor the
    folder that it lies in may be a link.

    Raises:
        DamagedRunError: something else than a file is there, or more than ``most_bytes``.
    """
    store, name = place_of(path, resolve=False)
    return store.read(name, most_bytes)


def write_whole(path: str, data: bytes) -> None:
    """Write or replace ``path`` so that a reader sees the old content or the new, never a part."""
    store, name = place_of(path, resolve=False)
    store.write(name, data)


def write_pieces(path: str, pieces: Iterable[bytes]) -> None:
    """Write or replace a file that a user names, which may be a link, a piece at a time.

    A reader sees the old content or the new, never a part, and nothing is written where making a
    piece fails. On a disk one piece is in memory at a time; object stores get the whole at once.
    """
    store, name = place_of(path)
    store.write_pieces(name, pieces)


def create_if_absent(path: str, data: bytes) -> bool:
    """Create ``path`` with ``data`` in one step, unless it exists.

    Locally: temporary file, fsync, hard link (which refuses an existing name), folder fsync. On
    object stores: one conditional write (``If-None-Match: *``, ``ifGenerationMatch=0``). Where its
    answer is lost, the store is asked who wrote what is there before anything is sent again.

    Returns:
        True when this call created the file. False when somebody else did, before or meanwhile,
        even with the same content: read it to see which.
    """
    store, name = place_of(path, resolve=False)
    return store.create(name, data)


def replace_if_unchanged(path: str, data: bytes, version: str) -> str | None:
    """Compare and swap: replace the content that :func:`read_versioned` gave ``version`` for.

    Returns:
        The new version, or None when ``path`` is no longer ``version`` because of somebody else.
    """
    store, name = place_of(path, resolve=False)
    return store.replace(name, data, version)


def delete(path: str) -> None:
    """Remove a file, where it is there."""
    store, name = place_of(path, resolve=False)
    store.delete(name)


def arrow_place(path: str) -> tuple[Any, str]:
    """A ``pyarrow.fs.FileSystem``, and the name of ``path`` in it."""
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem  # readers of datasets only

    store, name = place_of(path, resolve=False)
    filesystem, inside = store.arrow_place(name)
    if not isinstance(filesystem, FileSystem):
        filesystem = PyFileSystem(FSSpecHandler(filesystem))
    return filesystem, inside


def remove_empty(folder: str) -> None:
    """Remove a folder that a run made, where nothing is left in it and the store has folders."""
    store, name = place_of(folder, resolve=False)
    store.remove_empty(name)


def abort_upload(upload: Upload) -> None:
    """Drop an unfinished upload, so that its parts are no longer stored (nor paid for)."""
    store, _ = place_of(upload.path)
    store.abort(upload)


def join(folder: str, *names: str) -> str:
    """``folder/name/...`` for local paths and URIs alike."""
    return "/".join([folder.rstrip("/"), *names])


def fetch_files(files: Sequence[tuple[FileIdentity, Path]]) -> None:
    """Copy files to local paths; on S3 the very versions that were listed.

    Raises:
        InputContractError: a file has become another version.
    """

    def fetch(file: FileIdentity, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        store, _ = place_of(file.path)
        store.fetch(file, target)

    with ThreadPoolExecutor(_FETCHES) as pool:
        list(pool.map(lambda pair: fetch(*pair), files))


def sha256_file(path: Path) -> str:
    """Hex sha256 of a local file, read in pieces."""
    total, buffer = hashlib.sha256(), bytearray(_HASHED)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total.update(view[:count])
    return total.hexdigest()
