"""Columns that stand in the path of a file: Hive's ``lang=de/day=2026-01-01/part-0.parquet``.

Every folder of a path that is called ``name=value`` gives the column ``name`` to all rows of the
files below it, as text. Names and values are percent-decoded, as Hive and Spark write them
(``org.apache.hadoop.hive.common.FileUtils.escapePathName``), and
:data:`NULL_PARTITION` stands for null (``hive.exec.default.partition.name``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

import pyarrow as pa

from pipeline.errors import InputContractError

#: What Hive writes for a null, and for an empty text.
NULL_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"

Partitions = Mapping[str, str | None]

logger = logging.getLogger("pipeline")


def partitions_of(path: str) -> dict[str, str | None]:
    """The columns in the folders of a path; of a name that stands twice the innermost counts."""
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if name and equals:
            found[_decoded(name)] = None if value == NULL_PARTITION else _decoded(value)
    return found


def with_partitions(arrow: pa.Schema, partitions: Partitions) -> pa.Schema:
    """A file's columns and those of its path; one that the file has itself wins."""
    for name in partitions:
        if name not in arrow.names:
            arrow = arrow.append(pa.field(name, pa.string()))
    return arrow


def repeated(value: str | None, count: int) -> pa.Array:
    """The column of a path for ``count`` rows: string [count]."""
    return pa.repeat(pa.scalar(value, pa.string()), count)


def refuse_disagreement(files: Mapping[str, Iterable[str]], wanted: Sequence[str]) -> None:
    """See to it that a column that is asked for stands in every path, or in the file itself.

    Folders whose columns differ are only warned of where none of them is asked for.

    Args:
        files: names of the stored columns of each file, by path.
        wanted: names of columns that the configuration asks for.

    Raises:
        InputContractError: names the column, a file without it, and one that has it in its path.
    """
    columns = {path: partitions_of(path) for path in files}
    having: dict[str, str] = {}
    for path, found in columns.items():
        for name in found:
            having.setdefault(name, path)
    for path, found in columns.items():
        for name in having.keys() - found.keys():
            if name in wanted and name not in files[path]:
                raise InputContractError(
                    f"{path}: no column '{name}', neither in the file nor in its path (folders: "
                    f"{_shown(found)}), while {having[name]} has it in its path; put all files "
                    f"into folders called {name}=VALUE, or do not ask for the column"
                )
    kinds = {tuple(sorted(found)): path for path, found in columns.items()}
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        logger.warning(
            "partition folders disagree: %s in the path of %s, but %s in that of %s; only columns "
            "that all files have can be asked for",
            _shown(one), first, _shown(other), second,
        )  # fmt: skip


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"{name}=" for name in names) or "none"


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
