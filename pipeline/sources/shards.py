"""A source as it was opened, and the shards that it is read in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.sources.conditions import Conditions
from pipeline.sources.kinds import Format
from pipeline.sources.lance_rows import LanceFile
from pipeline.sources.roles import Role, RoleColumns
from pipeline.sources.text_files import TextFile
from pipeline.storage.files import FileIdentity


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of a file.

    Attributes:
        file: it.
        number: of the file in :attr:`Source.files`.
        format: of the file.
        start: first row of Parquet or Lance, or byte of text; a line belongs to where it begins.
        stop: row or byte after the last. A compressed file, and CSV, is one shard.
    """

    file: FileIdentity
    number: int
    format: Format
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """How one file of a source is read.

    Attributes:
        columns: which of its columns are which of ours.
        groups: rows of each row group of a Parquet file, or of each fragment of a Lance table.
        wanted: whether a row group can hold rows that ``input.filter`` lets through.
        text: of a text file.
        lance: of a Lance table.
        size_bytes: of what is read of it, decoded, about.
    """

    columns: RoleColumns
    groups: tuple[int, ...] = ()
    wanted: tuple[bool, ...] = ()
    text: TextFile | None = None
    lance: LanceFile | None = None
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files of one role and format.

    Attributes:
        role: candidates, corpus or queries.
        files: in order of their names, each known by its content.
        format: of all of them.
        schema: of every table that :func:`read_shard` gives.
        rows: how many they have before any filter; None: not known before they are read.
        size_bytes: of all of them decoded, about; from samples where they are compressed.
        opened: how each file is read.
        conditions: rows of candidates that are read; nothing: all.
        max_expansion: decoded bytes per stored byte past which much data is refused.
    """

    role: Role
    files: tuple[FileIdentity, ...]
    format: Format
    schema: pa.Schema
    rows: int | None
    size_bytes: int
    opened: tuple[SourceFile, ...] = field(repr=False)
    conditions: Conditions = ()
    max_expansion: float

    def shards(self, target_bytes: int) -> list[Shard]:
        """The source in parts of about ``target_bytes`` decoded bytes, in order."""
        return [
            Shard(file=file, number=number, format=self.format, start=start, stop=stop)
            for number, (file, opened) in enumerate(zip(self.files, self.opened, strict=True))
            for start, stop in _cuts(file, opened, max(1, target_bytes))
        ]

    def described(self) -> dict[str, Any]:
        """What identifies the content, as plain data."""
        return {
            "role": self.role,
            "format": self.format,
            "files": [file.described() for file in self.files],
        }


def _cuts(file: FileIdentity, opened: SourceFile, target: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, by whole row groups or, of Lance, parts of fragments; or ranges of bytes."""
    if opened.text is not None:
        if opened.text.whole:
            yield 0, file.size
            return
        step = max(1, int(target / max(opened.text.expansion, 1.0)))
        yield from ((start, min(file.size, start + step)) for start in range(0, file.size, step))
        return
    row_bytes = opened.size_bytes / max(1, sum(opened.groups))
    groups = list(zip(opened.groups, opened.wanted, strict=True))
    if opened.lance is not None:
        most = max(1, int(target / max(row_bytes, 1.0)))
        groups = [
            (min(most, rows - first), True)
            for rows in opened.groups for first in range(0, rows, most)
        ]  # fmt: skip
    start = row = 0
    for rows, wanted in groups:
        if not wanted or (row > start and (row + rows - start) * row_bytes > target):
            if row > start:
                yield start, row
            start = row if wanted else row + rows
        row += rows
    if row > start:
        yield start, row
