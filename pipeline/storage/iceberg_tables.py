"""Which files are the rows of an Iceberg table, as its newest metadata says, without a catalog.

Read by ``pyiceberg`` (the extra ``iceberg``). Iceberg resolves columns by the ids of their fields,
and a Parquet reader by their names, so a table whose columns were renamed or dropped is refused, as
are tables with files of deleted rows (Iceberg's specification, "Column Projection" and "Delete
Formats").
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

from pipeline.errors import InputContractError
from pipeline.extras import library

logger = logging.getLogger("pipeline")

#: Names of metadata files with the version of the table: those of catalogs begin with five digits
#: or more, those of tables without one with ``v``; ``.gz`` where they are compressed.
_METADATA: Final = re.compile(r"metadata/v?(\d+)(?:-[^/]+)?(?:\.gz)?\.metadata\.json")

_REMEDY: Final = (
    "write its rows as Parquet, for example with DuckDB: "
    "COPY (SELECT * FROM iceberg_scan('TABLE')) TO 'rows.parquet'"
)


def iceberg_names(folder: str, names: Iterable[str]) -> Collection[str]:
    """Names, below its folder, of the files that are the rows of an Iceberg table's latest version.

    Args:
        folder: the table's path or URI.
        names: of everything below it.

    Raises:
        InputContractError: no single metadata file is the newest, the table was written for another
            place, or its files hold other rows or columns than the table.
        ConfigurationError: the extra is not installed.
    """
    library("pyiceberg", extra="iceberg", needed_by=f"{folder}: an Iceberg table")
    newest = _newest(folder, names)
    try:
        table = _opened(f"{folder}/{newest}")
        _refuse_elsewhere(folder, "its location", table.metadata.location, below=False)
        scanned = _scanned(folder, table)
        _refuse_other_columns(folder, table.metadata)
    except InputContractError:
        raise
    except Exception as error:  # the library has many classes of its own
        raise InputContractError(
            f"{folder}: this Iceberg table cannot be read ({type(error).__name__}: {error})"
        ) from None
    found = {_below(folder, one.file.file_path) for one in scanned}
    logger.info("%s: %s of an Iceberg table, %d file(s)", folder, newest, len(found))
    return found


def _newest(folder: str, names: Iterable[str]) -> str:
    """The metadata file of the highest version; a second one is of a commit that lost."""
    versions: dict[int, list[str]] = {}
    for name in names:
        if match := _METADATA.fullmatch(name):
            versions.setdefault(int(match[1]), []).append(name)
    last = sorted(versions[max(versions)]) if versions else []
    if len(last) != 1:
        raise InputContractError(
            f"{folder}: which metadata of this Iceberg table counts, only its catalog knows: "
            f"{', '.join(last) or 'no name has a version'}; {_REMEDY}"
        )
    return last[0]


def _opened(place: str) -> Any:
    """The table of a metadata file, with a reader of files that the file has no say in.

    ``StaticTable.from_metadata`` lets properties of the table name the class that reads, which is
    imported, and the store that credentials are sent to.
    """
    from pyiceberg.catalog.noop import NoopCatalog
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.serializers import FromInputFile
    from pyiceberg.table import StaticTable

    io = PyArrowFileIO(_properties())
    return StaticTable(
        identifier=("", place),
        metadata=FromInputFile.table_metadata(io.new_input(place)),
        metadata_location=place,
        io=io,
        catalog=NoopCatalog(""),
    )


def _properties() -> dict[str, str]:
    """Where the store is, as the environment says; credentials are found there by the library."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    given = {"s3.endpoint": endpoint, "s3.region": region}
    return {name: value for name, value in given.items() if value}


def _scanned(folder: str, table: Any) -> list[Any]:
    """The scan's tasks, one a data file; lists of files that lie elsewhere are not opened."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return []
    _refuse_elsewhere(folder, "a list of files", snapshot.manifest_list)
    for manifest in snapshot.manifests(table.io):
        _refuse_elsewhere(folder, "a list of files", manifest.manifest_path)
    tasks = list(table.scan().plan_files())
    for task in tasks:
        kind = getattr(task.file.file_format, "value", task.file.file_format)
        _refuse_elsewhere(folder, "a data file", task.file.file_path)
        if task.delete_files:
            raise InputContractError(
                f"{folder}: rows of this Iceberg table are deleted by files of their own (merge on "
                f"read), so its data files hold more rows than the table; compact it, or {_REMEDY}"
            )
        if kind != "PARQUET":
            raise InputContractError(
                f"{folder}: this Iceberg table holds files of {kind}, expected PARQUET; {_REMEDY}"
            )
    return tasks


def _refuse_other_columns(folder: str, metadata: Any) -> None:
    """A name must mean the same field in every schema that files may have been written with."""
    [current] = [one for one in metadata.schemas if one.schema_id == metadata.current_schema_id]
    names = {field: current.find_column_name(field) for field in current.field_ids}
    for schema in metadata.schemas:
        for field in schema.field_ids:
            name = schema.find_column_name(field)
            if names.get(field) != name:
                became = "dropped" if field not in names else f"renamed to {names[field]!r}"
                raise InputContractError(
                    f"{folder}: column {name!r} of this Iceberg table was {became}, and older "
                    f"files hold it under its old name; {_REMEDY}"
                )
    filled = [field.name for field in current.fields if field.initial_default is not None]
    if filled:
        raise InputContractError(
            f"{folder}: column {filled[0]!r} of this Iceberg table has a value for rows that are "
            f"older than it, which files do not hold; {_REMEDY}"
        )


def _refuse_elsewhere(folder: str, what: str, place: str, *, below: bool = True) -> None:
    """Nothing is read that the table's own folder does not hold."""
    root, place = _plain(folder), _plain(place)
    if place != root if not below else not place.startswith(f"{root}/") or "/../" in place:
        raise InputContractError(
            f"{folder}: this Iceberg table has {what} at {place}; its files must lie below its "
            "folder, where it was written; was it moved or copied?"
        )


def _below(folder: str, path: str) -> str:
    return _plain(path).removeprefix(f"{_plain(folder)}/")


def _plain(path: str) -> str:
    """One spelling of a place: no scheme where it is local, and S3 by one name."""
    path = re.sub(r"^file:(//)?(?=/)", "", path.rstrip("/"))
    path = re.sub(r"^s3[an]://", "s3://", path)
    return path if "://" in path else os.path.realpath(path)
