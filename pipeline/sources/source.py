"""Candidates, a corpus or queries: files of one format, cut into shards, read as canonical tables.

A table has our column names, ids in their own type (integers stay integers in Parquet; text formats
have text), and of every row the place that it stands at, which is also the order of candidates as
they are given. Rows that cannot be used have a reason; of candidates they are kept, for the run
quarantines them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.agreement import common_carried, common_id
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.conditions import Conditions, conditions_of
from pipeline.sources.kinds import SPOKEN, Format, format_of, refuse_forced
from pipeline.sources.listing import files_of
from pipeline.sources.parquet_rows import groups_to_read, parquet_rows, untyped
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.roles import Role, RoleColumns, map_role
from pipeline.sources.streams import Head, read_head
from pipeline.sources.tables import MALFORMED_LINE, PLACES, canonical, only_columns, table_schema
from pipeline.sources.text_files import TextFile, open_text, text_rows
from pipeline.storage.files import FileIdentity
from pipeline.storage.parquet import read_footer
from pipeline.storage.store import with_content

__all__ = ["Role", "Shard", "Source", "open_source", "read_shard"]

logger = logging.getLogger("pipeline")

#: Files that are opened at once: opening waits for the store.
_OPENED: Final = 16

#: Rows that are wrong in a corpus or in queries of which the place is logged, of each shard.
_SHOWN: Final = 3

_IDS: Final = (schema.QUERY_ID, schema.DOC_ID)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A part of a file.

    Attributes:
        file: it.
        number: of the file in :attr:`Source.files`.
        format: of the file.
        start: first row of Parquet, or byte of text; a line belongs to where it begins.
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
        groups: rows of each row group of a Parquet file.
        wanted: whether a row group can hold rows that ``input.filter`` lets through.
        text: of a text file.
        size_bytes: of what is read of it, decoded, about.
    """

    columns: RoleColumns
    groups: tuple[int, ...] = ()
    wanted: tuple[bool, ...] = ()
    text: TextFile | None = None
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


def open_source(
    role: Role, paths: Sequence[str], config: InputConfig, *, pass_through: tuple[str, ...] = ()
) -> Source:
    """List the files of a role, and find out what each is and which of its columns are ours.

    Args:
        role: candidates, corpus or queries.
        paths: files, folders or globs; a BEIR collection as corpus or queries by its folder.
        config: of the input.
        pass_through: columns that are copied to the output, where the files have them.

    Raises:
        NotFoundError: a path matches nothing.
        InputContractError: files are of a format that is not read, or of several; a column is
            missing or of a type that cannot be read; a file is damaged.
    """
    listed = files_of(role, paths)
    conditions = conditions_of(config.filter) if role == "candidates" else ()
    whole_bytes = int(config.hash_mib * 2**20)

    def look(file: FileIdentity) -> tuple[FileIdentity, Head | None]:
        known = with_content(file, whole_bytes=whole_bytes)
        return known, read_head(known, config.max_expansion) if known.size else None

    with ThreadPoolExecutor(_OPENED) as pool:
        looked = list(pool.map(look, listed))
        filled = [(file, head) for file, head in looked if head is not None]
        if not filled:
            raise InputContractError(
                f"{listed[0].path}: the file is empty (0 bytes), and so are all of the {role}; "
                "see to the step that wrote them"
            )
        kind = _agreed_format(role, filled, config)
        opened = list(pool.map(
            lambda one: _open(kind, role, one[0], one[1], config, pass_through, conditions), filled
        ))  # fmt: skip
    opened = _agreed_types([file.path for file, _ in filled], opened)
    rows = sum(sum(one.groups) for one in opened) if kind == "parquet" else None
    return Source(
        role=role,
        files=tuple(file for file, _ in filled),
        format=kind,
        schema=_common_schema(opened),
        rows=rows,
        size_bytes=sum(one.size_bytes for one in opened),
        opened=tuple(opened),
        conditions=conditions,
        max_expansion=config.max_expansion,
    )


def read_shard(
    source: Source, shard: Shard, *, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a shard in order, as tables of some MiB.

    Args:
        source: what the shard is of.
        shard: from :meth:`Source.shards`.
        columns: our names to read; the places of rows come with them. None: all of
            :attr:`Source.schema`.

    Raises:
        InputContractError: the file is not what it was, is damaged, or a value of Parquet does not
            fit its column; names file and place.
    """
    opened = source.opened[shard.number]
    wanted = source.schema.names if columns is None else [*columns, *PLACES]
    mapped = opened.columns if columns is None else only_columns(opened.columns, tuple(columns))
    wrong = _Wrong()
    for raw in _raw(source, shard, opened, mapped):
        table = canonical(
            mapped, raw, path=shard.file.path, number=shard.number,
            unit=None if opened.text is None else opened.text.unit,
        )  # fmt: skip
        if source.role != "candidates":
            table = wrong.without(table)
        if table.num_rows:
            yield _conformed(table, source.schema, wanted)
    wrong.told(source, shard)


class _Wrong:
    """Lines of a corpus or of queries that are none, which are left out and counted."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[str] = []

    def without(self, table: pa.Table) -> pa.Table:
        wrong = pc.fill_null(pc.equal(table.column(schema.REASON), MALFORMED_LINE), False)
        count = int(pc.sum(wrong).as_py() or 0)
        if not count:
            return table
        self._count += count
        messages = table.column(schema.MESSAGE).filter(wrong)
        self._first += messages.slice(0, _SHOWN - len(self._first)).to_pylist()
        return table.filter(pc.invert(wrong))

    def told(self, source: Source, shard: Shard) -> None:
        if self._count:
            logger.warning(
                "%s: %d line(s) of the %s cannot be read and are left out: %s",
                shard.file.path, self._count, source.role, "; ".join(self._first),
            )  # fmt: skip


def _raw(
    source: Source, shard: Shard, opened: SourceFile, columns: RoleColumns
) -> Iterator[RawRows]:
    limits = {"max_expansion": source.max_expansion}
    if opened.text is not None:
        return text_rows(
            shard.file, opened.text, shard.start, shard.stop, source.conditions, **limits
        )
    return parquet_rows(shard.file, shard.start, shard.stop, columns, source.conditions, **limits)


def _open(
    kind: Format, role: Role, file: FileIdentity, head: Head, config: InputConfig,
    pass_through: tuple[str, ...], conditions: Conditions,
) -> SourceFile:  # fmt: skip
    if kind != "parquet":
        text, columns = open_text(
            kind, role, head, path=file.path, config=config, pass_through=pass_through,
            conditions=conditions,
        )  # fmt: skip
        return SourceFile(columns=columns, text=text, size_bytes=int(file.size * head.expansion))
    footer = read_footer(file)
    arrow = footer.schema if footer.rows else untyped(footer.schema)
    columns = map_role(
        role, arrow, path=file.path, config=config, pass_through=pass_through, uuids=footer.uuids
    )
    footer.refuse_expansion(columns.top(), config.max_expansion)
    wanted = groups_to_read(footer, conditions)
    places = footer.parsed.places(columns.top())
    sizes = np.maximum(footer.parsed.unpacked[:, places], footer.parsed.stored[:, places])
    return SourceFile(
        columns=columns, groups=footer.row_groups, wanted=tuple(wanted),
        size_bytes=int(sizes.sum(axis=1)[wanted].sum()) + 8 * footer.rows * len(places),
    )  # fmt: skip


def _agreed_format(
    role: Role, files: Sequence[tuple[FileIdentity, Head]], config: InputConfig
) -> Format:
    """The one format of all files."""
    forced = config.format if role == "candidates" else "auto"
    if forced != "auto":
        for file, head in files:
            refuse_forced(forced, head.data, file.path)
        return forced
    kinds = [format_of(head.data, file.path) for file, head in files]
    other = next((n for n, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        raise InputContractError(
            f"{files[other][0].path}: this is {SPOKEN[kinds[other]]}, but {files[0][0].path} is "
            f"{SPOKEN[kinds[0]]}; the files of one role must be of one format: name those that "
            "are meant"
        )
    return kinds[0]


def _agreed_types(paths: Sequence[str], opened: Sequence[SourceFile]) -> list[SourceFile]:
    """The files with one type per column over all of them; nulls agree with anything."""
    agreed: dict[str, tuple[str, pa.DataType]] = {}
    for path, one in zip(paths, opened, strict=True):
        for name, kind in one.columns.types.items():
            before = agreed.setdefault(name, (path, kind))[1]
            if kind == before or pa.types.is_null(kind):
                continue
            merge = common_id if name in _IDS else common_carried
            common = kind if pa.types.is_null(before) else merge(before, kind)
            if common is None:
                raise InputContractError(
                    f"{path}: '{name}' holds {kind}, but {before} in {agreed[name][0]}; write both "
                    "files with one type"
                )
            agreed[name] = (path, common)
    return [
        replace(one, columns=replace(
            one.columns, types={name: agreed[name][1] for name in one.columns.types}
        ))
        for one in opened
    ]  # fmt: skip


def _common_schema(opened: Sequence[SourceFile]) -> pa.Schema:
    fields = {f.name: f for one in opened for f in table_schema(one.columns)}
    last = (schema.REASON, schema.MESSAGE, *PLACES)
    return pa.schema([f for name, f in fields.items() if name not in last]
                     + [fields[name] for name in last])  # fmt: skip


def _conformed(table: pa.Table, common: pa.Schema, wanted: Sequence[str]) -> pa.Table:
    """The columns that are wanted; those that only other files have are null."""
    columns = [
        table.column(name) if name in table.column_names
        else pa.nulls(table.num_rows, common.field(name).type)
        for name in wanted
    ]  # fmt: skip
    return pa.table(columns, schema=pa.schema([common.field(name) for name in wanted]))


def _cuts(file: FileIdentity, opened: SourceFile, target: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, by whole row groups; or ranges of bytes."""
    if opened.text is not None:
        if opened.text.whole:
            yield 0, file.size
            return
        step = max(1, int(target / max(opened.text.expansion, 1.0)))
        yield from ((start, min(file.size, start + step)) for start in range(0, file.size, step))
        return
    row_bytes = opened.size_bytes / max(1, sum(opened.groups))
    start = row = 0
    for rows, wanted in zip(opened.groups, opened.wanted, strict=True):
        if not wanted or (row > start and (row + rows - start) * row_bytes > target):
            if row > start:
                yield start, row
            start = row if wanted else row + rows
        row += rows
    if row > start:
        yield start, row
