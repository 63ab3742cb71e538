"""Files of a run, wherever they lie: list with identity, read, publish whole or not at all.

Paths are plain local paths or URIs. Credentials, endpoints and regions come from the environment
(``AWS_*`` and the like), never from a configuration file.

Every function may raise :class:`AccessDeniedError` (the store refuses the credentials) and
:class:`StorageError` (it failed, and went on failing for as long as the policy allows).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import NotFoundError
from pipeline.storage import patterns
from pipeline.storage.backend import Backend
from pipeline.storage.content import identify_content
from pipeline.storage.files import Entry, FileIdentity, Temporary, Upload
from pipeline.storage.home import absolute_path, expanded
from pipeline.storage.table_folders import files_of_table

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


def list_files(
    pattern: str, *, suffix: str | tuple[str, ...] = patterns.DATA_ENDINGS
) -> list[FileIdentity]:
    """Files that ``pattern`` names: one file, the data files below a folder, or those of a glob.

    A file that is named, or that a glob matches, may end as it likes. In folders names that begin
    with ``_`` or ``.`` are skipped, as every Parquet reader does; what a glob stands for is said in
    :mod:`pipeline.storage.patterns`, and what a table with a log is in
    :mod:`pipeline.storage.table_folders`.

    Args:
        pattern: local path or URI. What is there by this very name is not taken for a glob.
        suffix: ending of data files in folders, or several.

    Returns:
        Files sorted by path.

    Raises:
        NotFoundError: nothing matches.
        InputContractError: the folder is that of a table whose rows are not its files.
    """
    store, path = _place(pattern)
    file = store.stat(path)
    if file is not None:
        return [file]
    endings = (suffix,) if isinstance(suffix, str) else suffix
    if patterns.has_wildcards(path) and not store.is_folder(path):
        files = store.glob(path, endings)
    else:
        folder = path.rstrip("/")
        found = [(file, file.path[len(folder) :].strip("/")) for file in store.find(folder)]
        table = files_of_table(folder, found)
        files = [file for file, below in found if patterns.is_data(below, endings)]
        files = files if table is None else table
    if not files:
        raise NotFoundError(
            f"{pattern}: no file found; expected a file, a folder with files that end in "
            f"{' or '.join(endings)}, or a glob"
        )
    return sorted(files, key=lambda file: file.path)


def distinct_files(files: Iterable[FileIdentity]) -> list[FileIdentity]:
    """The files sorted by path, a local one that links lead to several times only once.

    It is kept by its own path where that is among them, else by the first one.
    """
    kept: dict[str, FileIdentity] = {}
    for file in sorted({file.path: file for file in files}.values(), key=attrgetter("path")):
        place = file.path if "://" in file.path else os.path.realpath(file.path)
        if place not in kept or file.path == place:
            kept[place] = file
    return sorted(kept.values(), key=attrgetter("path"))


def list_names(folder: str) -> list[str]:
    """File names directly in ``folder``, sorted; empty when the folder is absent."""
    store, path = _place(folder)
    return sorted(store.children(path)[0])


def list_folders(folder: str) -> list[str]:
    """Names of the folders directly in ``folder``, sorted; empty when it is absent."""
    store, path = _place(folder)
    return sorted(store.children(path)[1])


def list_entries(folder: str) -> list[Entry]:
    """Every name directly in ``folder``, sorted, with what stands there; no link is followed.

    Raises:
        DamagedRunError: a link is in the place of the folder.
    """
    store, path = _place(folder, resolve=False)
    return sorted(store.entries(path), key=lambda entry: (entry.name, entry.kind))


def identify(path: str) -> FileIdentity:
    """The identity that ``path`` has now.

    Raises:
        NotFoundError: the file is gone.
    """
    store, name = _place(path)
    file = store.stat(name)
    if file is None:
        raise NotFoundError(f"{path}: no such file")
    return file


def exists(path: str) -> bool:
    """Whether a file is at ``path``."""
    store, name = _place(path)
    return store.stat(name) is not None


def is_folder(path: str) -> bool:
    """Whether ``path`` is a folder."""
    store, name = _place(path)
    return store.is_folder(name)


def with_content(file: FileIdentity, *, whole_bytes: int) -> FileIdentity:
    """The file with a version that stands for its content, by reading it where its store has none.

    Args:
        file: from :func:`list_files` or :func:`identify`.
        whole_bytes: the largest size that is hashed whole; larger ones are sampled, see
            :mod:`pipeline.storage.content`.

    Raises:
        NotFoundError: the file is gone.
        InputContractError: it is being written to, or cannot be identified.
    """
    if file.strong:
        return file
    store, name = _place(file.path)
    # By the name that it was listed under: links on the way may be set anew, content is compared.
    return replace(identify_content(store, name, whole_bytes=whole_bytes), path=file.path)


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
    store, name = _place(path)
    file = store.open(name, expected)
    if file is None:
        raise NotFoundError(f"{path}: cannot be opened: no such file")
    return file


def read_bytes(path: str) -> bytes:
    """Whole content of a file that a user names, which may be a link.

    Raises:
        NotFoundError: there is none.
    """
    store, name = _place(path)
    found = store.read(name)
    if found is None:
        raise NotFoundError(f"{path}: cannot be opened: no such file")
    return found[0]


def open_own(path: str) -> BinaryIO | None:
    """A seekable reader of a file that a run made, see :func:`read_versioned`; None: no file."""
    store, name = _place(path, resolve=False)
    return store.open_own(name)


def read_versioned(path: str, *, most_bytes: int | None = None) -> tuple[bytes, str] | None:
    """Content and version token, both of the same moment; None where there is no file.

    This and the functions that write are for files that a run makes: neither the file nor the
    folder that it lies in may be a link.

    Raises:
        DamagedRunError: something else than a file is there, or more than ``most_bytes``.
    """
    store, name = _place(path, resolve=False)
    return store.read(name, most_bytes)


def write_whole(path: str, data: bytes) -> None:
    """Write or replace ``path`` so that a reader sees the old content or the new, never a part."""
    store, name = _place(path, resolve=False)
    store.write(name, data)


def write_pieces(path: str, pieces: Iterable[bytes]) -> None:
    """Write or replace a file that a user names, which may be a link, a piece at a time.

    A reader sees the old content or the new, never a part, and nothing is written where making a
    piece fails. On a disk one piece is in memory at a time; object stores get the whole at once.
    """
    store, name = _place(path)
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
    store, name = _place(path, resolve=False)
    return store.create(name, data)


def replace_if_unchanged(path: str, data: bytes, version: str) -> str | None:
    """Compare and swap: replace the content that :func:`read_versioned` gave ``version`` for.

    Returns:
        The new version, or None when ``path`` is no longer ``version`` because of somebody else.
    """
    store, name = _place(path, resolve=False)
    return store.replace(name, data, version)


def delete(path: str) -> None:
    """Remove a file, where it is there."""
    store, name = _place(path, resolve=False)
    store.delete(name)


def arrow_place(path: str) -> tuple[Any, str]:
    """A ``pyarrow.fs.FileSystem``, and the name of ``path`` in it."""
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem  # readers of datasets only

    store, name = _place(path, resolve=False)
    filesystem, inside = store.arrow_place(name)
    if not isinstance(filesystem, FileSystem):
        filesystem = PyFileSystem(FSSpecHandler(filesystem))
    return filesystem, inside


def last_modified(folder: str) -> datetime | None:
    """When a file below a folder was written last, by the store's clock; None where there is none.

    Raises:
        StorageError: the store does not say when files were written.
    """
    store, name = _place(folder, resolve=False)
    return store.modified(name.rstrip("/"))


def remove_empty(folder: str) -> None:
    """Remove a folder that a run made, where nothing is left in it and the store has folders."""
    store, name = _place(folder, resolve=False)
    store.remove_empty(name)


def list_uploads(folder: str) -> list[Upload]:
    """Multipart uploads below ``folder`` that were never finished; none where a store has none."""
    store, name = _place(folder)
    return store.uploads(name)


def abort_upload(upload: Upload) -> None:
    """Drop an unfinished upload, so that its parts are no longer stored (nor paid for)."""
    store, _ = _place(upload.path)
    store.abort(upload)


def list_temporary(folder: str) -> list[Temporary]:
    """Temporary files below ``folder``, left by killed processes or in use by living ones."""
    store, name = _place(folder)
    return store.temporary(name)


def join(folder: str, *names: str) -> str:
    """``folder/name/...`` for local paths and URIs alike."""
    return "/".join([folder.rstrip("/"), *names])


def absolute(path: str) -> str:
    """A local path made absolute; a URI as it is.

    Raises:
        NotFoundError: there is no home folder, or no working folder, to start from.
    """
    return path if "://" in path else absolute_path(path)


def files_below(folder: str) -> list[FileIdentity]:
    """Every file below a folder, in any order; none where it is absent."""
    store, path = _place(folder)
    return store.find(path.rstrip("/"))


def fetch_files(files: Sequence[tuple[FileIdentity, Path]]) -> None:
    """Copy files to local paths; on S3 the very versions that were listed.

    Raises:
        InputContractError: a file has become another version.
    """

    def fetch(file: FileIdentity, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        store, _ = _place(file.path)
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


def _place(path: str, *, resolve: bool = True) -> tuple[Backend, str]:
    """The store that a path is in, and its full name there; local links ``resolve`` or stay."""
    scheme, separator, rest = path.partition("://")
    if not separator or scheme in ("file", "local"):
        local = rest if separator else path
        return _backend("file"), absolute(local) if resolve else _as_named(local)
    if scheme in ("s3", "s3a"):
        return _backend("s3"), f"s3://{rest}"
    return _backend("gs" if scheme in ("gs", "gcs") else "fsspec"), path


def _as_named(path: str) -> str:
    return str(expanded(path).absolute())


@cache
def _backend(kind: str) -> Backend:
    # Each is imported where it is used: the client of a store that a job does not touch costs a
    # second at the start of every command.
    if kind == "file":
        from pipeline.storage.local import LocalDisk

        return LocalDisk()
    if kind == "s3":
        from pipeline.storage.s3 import S3

        return S3()
    if kind == "gs":
        from pipeline.storage.gcs import GoogleStorage

        return GoogleStorage()
    from pipeline.storage.filesystem import Filesystem

    return Filesystem()
