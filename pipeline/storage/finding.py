"""What is there: files and folders, with identity, and what killed processes left.

Every function may raise what those of :mod:`pipeline.storage.store` may, which has their names too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from pipeline.errors import NotFoundError
from pipeline.storage import patterns
from pipeline.storage.content import identify_content
from pipeline.storage.files import Entry, FileIdentity, Temporary, Upload
from pipeline.storage.places import place_of
from pipeline.storage.table_folders import files_of_table


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
    store, path = place_of(pattern)
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
    store, path = place_of(folder)
    return sorted(store.children(path)[0])


def list_folders(folder: str) -> list[str]:
    """Names of the folders directly in ``folder``, sorted; empty when it is absent."""
    store, path = place_of(folder)
    return sorted(store.children(path)[1])


def list_entries(folder: str) -> list[Entry]:
    """Every name directly in ``folder``, sorted, with what stands there; no link is followed.

    Raises:
        DamagedRunError: a link is in the place of the folder.
    """
    store, path = place_of(folder, resolve=False)
    found = store.entries(path)
    found.sort(key=attrgetter("kind"))  # by name, then kind, without a pair for each of a million
    found.sort(key=attrgetter("name"))
    return found


def identify(path: str) -> FileIdentity:
    """The identity that ``path`` has now.

    Raises:
        NotFoundError: the file is gone.
    """
    store, name = place_of(path)
    file = store.stat(name)
    if file is None:
        raise NotFoundError(f"{path}: no such file")
    return file


def exists(path: str) -> bool:
    """Whether a file is at ``path``."""
    store, name = place_of(path)
    return store.stat(name) is not None


def is_folder(path: str) -> bool:
    """Whether ``path`` is a folder."""
    store, name = place_of(path)
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
    store, name = place_of(file.path)
    # By the name that it was listed under: links on the way may be set anew, content is compared.
    return replace(identify_content(store, name, whole_bytes=whole_bytes), path=file.path)


def last_modified(folder: str) -> datetime | None:
    """When a file below a folder was written last, by the store's clock; None where there is none.

    Raises:
        StorageError: the store does not say when files were written.
    """
    store, name = place_of(folder, resolve=False)
    return store.modified(name.rstrip("/"))


def list_uploads(folder: str) -> list[Upload]:
    """Multipart uploads below ``folder`` that were never finished; none where a store has none."""
    store, name = place_of(folder)
    return store.uploads(name)


def list_temporary(folder: str) -> list[Temporary]:
    """Temporary files below ``folder``, left by killed processes or in use by living ones."""
    store, name = place_of(folder)
    return store.temporary(name)


def files_below(folder: str) -> list[FileIdentity]:
    """Every file below a folder, in any order; none where it is absent."""
    store, path = place_of(folder)
    return store.find(path.rstrip("/"))
