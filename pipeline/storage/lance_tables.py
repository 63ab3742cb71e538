"""Lance tables: which version is read, and its rows, fragment by fragment.

Read by ``pylance`` (the extra ``lance``). A version of a table is a manifest, which names data
files and lists of deleted rows that are written once (https://lance.org/format/table/). So the
content of the manifest says which rows a version has, and it stays readable while newer ones are
written.

Lance keeps no hash of values: bytes that were changed inside a data file may be read as others.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline.errors import ConfigurationError, InputContractError, RerankError, StorageError
from pipeline.extras import library
from pipeline.storage.files import FileIdentity
from pipeline.storage.lance_files import refuse_damaged_data, refuse_damaged_deletions
from pipeline.storage.store import (
    absolute,
    exists,
    identify,
    is_folder,
    join,
    list_names,
    open_input,
    with_content,
)

logger = logging.getLogger("pipeline")

_VERSIONS: Final = "_versions"
_MANIFEST: Final = re.compile(r"(\d+)\.manifest")

#: Newer tables name the manifest of version V after this minus V, so that the last one is listed
#: first (https://lance.org/format/table/transaction/, "Manifest Naming Schemes").
_LAST: Final = 2**64 - 1

#: Manifests are hashed whole; one of a million fragments has some 100 MB.
_MANIFEST_BYTES: Final = 1 << 30

#: Bytes and rows that are decoded at once.
_BATCH_BYTES: Final = 8 << 20
_BATCH_ROWS: Final = 8192

#: Batches that are decoded ahead of the one that is asked for.
_AHEAD: Final = 2

#: Where the library's messages begin to say which line of its own code they are from.
_OWN_CODE: Final = re.compile(r",? /\S+\.rs:\d+:\d+")


@dataclass(frozen=True, kw_only=True)
class LanceTable(FileIdentity):
    """A version of a table: its path is the folder, its size that of the data files.

    Attributes:
        number: of the version.
        manifest: the file that it is.
    """

    number: int
    manifest: FileIdentity


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """Rows of a version that lie together.

    Attributes:
        number: of the fragment in its table.
        rows: that are not deleted.
        deleted: rows that are.
    """

    number: int
    rows: int
    deleted: int


def is_lance_table(path: str) -> bool:
    """Whether a path is the folder of a table, by the names in it."""
    if not is_folder(path):
        return False
    return any(map(_MANIFEST.fullmatch, list_names(join(_place(path), _VERSIONS))))


def lance_table(path: str) -> LanceTable | None:
    """The newest version of the table in a folder; None where the folder is none of a table.

    Raises:
        InputContractError: it is damaged, or has files outside of its folder.
        ConfigurationError: the extra is not installed, or the library has no access to the store.
    """
    if not is_lance_table(path):
        return None
    folder = _place(path)
    dataset = _opened(folder)
    with explained(folder):
        number, fragments = dataset.version, dataset.get_fragments()
        files = [file for fragment in fragments for file in fragment.metadata.files]
        elsewhere = list(dataset.base_paths().values())
    outside = next((f.path for f in files if f.path.startswith("/") or ".." in f.path), None)
    if outside is not None or elsewhere:
        raise InputContractError(
            f"{folder}: this Lance table has files outside of its folder, such as "
            f"{outside or elsewhere[0]}; write a whole copy of it (lance: dataset.deep_clone)"
        )
    manifest = _manifest(folder, number)
    size = manifest.size + sum(file.file_size_bytes or 0 for file in files)
    logger.info("%s: version %d of a Lance table, %d fragment(s)", folder, number, len(fragments))
    return LanceTable(
        path=folder, size=size, version=f"{number}:{manifest.version}", strong=True,
        number=number, manifest=manifest,
    )  # fmt: skip


def lance_content(table: LanceTable) -> tuple[list[Any], tuple[Fragment, ...]]:
    """The columns of a version, and its fragments in order of their rows.

    Columns are the library's own description (``lance.schema.LanceField``), in which no extension
    type is resolved.

    Raises:
        InputContractError: the version is no longer what it was, or damaged.
    """
    dataset = _opened(table.path, table)
    with explained(table.path):
        fragments = dataset.get_fragments()
        for deletions in filter(None, (one.deletion_file() for one in fragments)):
            refuse_damaged_deletions(join(table.path, deletions))
        return dataset.lance_schema.fields(), tuple(
            Fragment(number=one.fragment_id, rows=one.count_rows(), deleted=one.num_deletions)
            for one in fragments
        )


def lance_batches(
    table: LanceTable, fragments: Sequence[Fragment], start: int, stop: int,
    *, columns: Sequence[str], row_bytes: float = 0.0,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Rows ``[start, stop)`` of a version in order; rows that are deleted do not count.

    Args:
        table: the version.
        fragments: all of its fragments.
        start: first row.
        stop: row after the last.
        columns: names of those that are read; each must be of a type that may be.
        row_bytes: of these columns, about; 0: not known.

    Raises:
        InputContractError: the version is no longer what it was, or a data file is damaged; names
            the files of the fragment.
    """
    dataset = _opened(table.path, table)
    at_once = int(min(_BATCH_ROWS, max(1.0, _BATCH_BYTES / max(row_bytes, 1.0))))
    first = 0
    for fragment in fragments:
        lower, upper = max(start - first, 0), min(stop - first, fragment.rows)
        first += fragment.rows
        if lower >= upper:
            continue
        given = dataset.get_fragment(fragment.number)
        for file, size in _files(table.path, given).items():
            refuse_damaged_data(file, size)
        found = 0
        with explained(table.path, given):
            batches = given.to_batches(
                columns=list(columns), offset=lower, limit=upper - lower, batch_size=at_once,
                batch_readahead=_AHEAD,
            )  # fmt: skip
            for batch in batches:
                found += batch.num_rows
                yield batch
        if found != upper - lower:
            raise InputContractError(
                f"{_named(table.path, given)}: {found:,} rows where the table's manifest has "
                f"{upper - lower:,}; copy or write the table again"
            )


def _place(path: str) -> str:
    """The folder as the library takes it."""
    scheme, separator, rest = path.rstrip("/").partition("://")
    if not separator or scheme in ("file", "local"):
        return absolute(rest if separator else path.rstrip("/"))
    return f"s3://{rest}" if scheme in ("s3", "s3a") else f"{scheme}://{rest}"


def _opened(folder: str, table: LanceTable | None = None) -> Any:
    """The dataset at its newest version, or at one that must be what it was.

    The library takes credentials and endpoint from the environment (``AWS_*``), as our own access
    does, so none of them is handed over.
    """
    lance = library("lance", extra="lance", needed_by=f"{folder}: a Lance table")
    if "://" in folder and not folder.startswith("s3://"):
        raise ConfigurationError(
            f"{folder}: Lance tables are read from disks and s3:// only, whose access the library "
            "finds in the environment; copy the table, or write its rows as Parquet: "
            "pyarrow.parquet.write_table(lance.dataset('TABLE').to_table(), 'rows.parquet')"
        )
    if table is not None:
        _refuse_changed(table)
    # Said when a program is started later, such as Ray's: a fork that another program replaces.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    with explained(folder):
        return lance.dataset(
            folder, version=None if table is None else table.number,
            storage_options={"allow_http": "true"} if http else None,
        )  # fmt: skip


def _manifest(folder: str, number: int) -> FileIdentity:
    """The file of a version, by the hash of its bytes."""
    paths = [join(folder, _VERSIONS, f"{n}.manifest") for n in (f"{_LAST - number:020d}", number)]
    path = next((path for path in paths if exists(path)), None)
    if path is None:
        raise InputContractError(
            f"{folder}: version {number} of this Lance table has no manifest of a known name in "
            f"{_VERSIONS}/; open and write the table once with a current version of lance"
        )
    return with_content(identify(path), whole_bytes=_MANIFEST_BYTES)


def _refuse_changed(table: LanceTable) -> None:
    """Refuse a version that is not what was planned with."""
    if not exists(table.manifest.path):
        raise InputContractError(
            f"{table.path}: version {table.number} of this Lance table, with which the run was "
            "planned, is gone; was it cleaned up meanwhile? Start the run again: it reads the "
            "newest one"
        )
    with open_input(table.manifest.path, expected=table.manifest) as file:
        file.read(1)


@contextmanager
def explained(folder: str, fragment: Any = None) -> Iterator[None]:
    """What the library raises, as ours; a fault of a file is one of its fragment's files.

    Raises:
        InputContractError: names the table, or the files.
        StorageError: the store failed.
    """
    try:
        yield
    except RerankError:
        raise
    except BaseException as error:
        # A panic of the library's own code is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        where = folder if fragment is None else _named(folder, fragment)
        told = _OWN_CODE.sub("", str(error).split("\n")[0])
        if "Generic S3 error" in told:
            raise StorageError(f"{where}: the store failed while Lance read it ({told})") from None
        raise InputContractError(
            f"{where}: this Lance table cannot be read ({type(error).__name__}: {told}); copy or "
            "write it again"
        ) from None


def _files(folder: str, fragment: Any) -> dict[str, int | None]:
    """Paths of a fragment's data files, each with the length that the manifest has."""
    files = fragment.data_files()
    return {join(folder, "data", file.path): file.file_size_bytes for file in files}


def _named(folder: str, fragment: Any) -> str:
    """The files of a fragment, for messages."""
    deletions = fragment.deletion_file()
    beside = [] if deletions is None else [join(folder, deletions)]
    return ", ".join([*_files(folder, fragment), *beside])
