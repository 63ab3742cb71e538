"""Folders that hold a table of a format with a log, in which not every data file counts.

Such a folder keeps the files of older versions, and those of rows that were replaced or deleted. So
which files are its rows says the log alone: Delta Lake's is read by ``deltalake`` (the extra
``delta``), Iceberg's in :mod:`pipeline.storage.iceberg_tables`. Lance's files are no Parquet:
:mod:`pipeline.storage.lance_tables` reads them where an input is converted, and elsewhere they are
refused, as tables of other formats are, instead of being read as a folder of Parquet.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import unquote

import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.extras import library
from pipeline.storage.files import FileIdentity
from pipeline.storage.iceberg_tables import iceberg_names

logger = logging.getLogger("pipeline")

_DELTA: Final = "Delta Lake"
_ICEBERG: Final = "Iceberg"
_LANCE: Final = "Lance"

#: By what a table is known, below its folder: Delta's protocol, Iceberg's and Lance's table
#: formats, and Hudi's ``hoodie.properties``.
_KNOWN: Final = {
    _DELTA: re.compile(r"(.*/)?_delta_log/[^/]+\.json"),
    _ICEBERG: re.compile(r"(.*/)?metadata/[^/]+\.metadata\.json"),
    "Hudi": re.compile(r"(.*/)?\.hoodie/hoodie\.properties"),
    _LANCE: re.compile(r"(.*/)?_versions/[^/]+\.manifest"),
}

_REMEDIES: Final = {
    "Hudi": "spark.read.format('hudi').load('TABLE').write.parquet('rows.parquet') in Spark",
}

_AS_PARQUET: Final = (
    "pyarrow.parquet.write_table(lance.dataset('TABLE').to_table(), 'rows.parquet')"
)

#: Features of readers (Delta's protocol, "Table Features") under which a data file is what it is.
_HARMLESS: Final = frozenset({"timestampNtz", "vacuumProtocolCheck"})


def files_of_table(
    folder: str, files: Iterable[tuple[FileIdentity, str]]
) -> list[FileIdentity] | None:
    """The data files of the table in a folder; None where it holds none.

    Args:
        folder: its path or URI.
        files: everything below it, each with its name there.

    Raises:
        InputContractError: it is of a format that is not read, lies deeper, uses a feature that is
            not understood, or its log names a file that is not there.
        ConfigurationError: the extra is not installed.
    """
    by_name = {name: file for file, name in files}
    found = next(
        ((kind, match[1] or "") for name in sorted(by_name) for kind, known in _KNOWN.items()
         if (match := known.fullmatch(name))),
        None,
    )  # fmt: skip
    if found is None:
        return None
    kind, below = found
    if kind == _LANCE and not below:
        raise InputContractError(
            f"{folder}: this is a Lance table, which is read as candidates, corpus or queries of "
            f"an input whose input.format is auto; here, write its rows as Parquet: {_AS_PARQUET}"
        )
    if kind in _REMEDIES:
        raise InputContractError(
            f"{folder}: this is a table of {kind}, whose folder also holds rows that are replaced "
            f"or deleted; write its rows as Parquet, for example: {_REMEDIES[kind]}"
        )
    if below:
        raise InputContractError(
            f"{folder}: below it, in {below}, is a table of {kind}, whose folder also holds rows "
            "that are replaced or deleted; name the table itself"
        )
    names = _delta_names(folder) if kind == _DELTA else iceberg_names(folder, by_name)
    missing = sorted(names - by_name.keys())
    if missing:
        raise InputContractError(
            f"{folder}: the log of this {kind} table names {missing[0]}, which is not there; was "
            "it vacuumed meanwhile, or is it a clone of a table elsewhere?"
        )
    return [by_name[name] for name in sorted(names)]


def _delta_names(folder: str) -> Collection[str]:
    """Names of the files that are the rows of a Delta table's latest version."""
    deltalake = library("deltalake", extra="delta", needed_by=f"{folder}: a Delta Lake table")
    http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    try:
        table = deltalake.DeltaTable(
            folder, storage_options={"AWS_ALLOW_HTTP": "true"} if http else None
        )
        protocol = table.protocol()
        actions = pa.table(table.get_add_actions())
    except Exception as error:  # the library has many classes of its own
        raise InputContractError(
            f"{folder}: this Delta Lake table cannot be read ({type(error).__name__}: {error})"
        ) from None
    unknown = sorted(set(protocol.reader_features or ()) - _HARMLESS)
    if unknown or protocol.min_reader_version == 2:
        raise InputContractError(
            f"{folder}: this Delta Lake table uses {', '.join(unknown) or 'columnMapping'}, which "
            "is not understood: its files hold other rows or columns than the table; write its "
            "rows as Parquet, for example with DuckDB: COPY (SELECT * FROM delta_scan('TABLE')) TO "
            "'rows.parquet'"
        )
    names = {unquote(path) for path in actions.column("path").to_pylist()}
    logger.info(
        "%s: version %d of a Delta Lake table, %d file(s)", folder, table.version(), len(names)
    )
    return names
