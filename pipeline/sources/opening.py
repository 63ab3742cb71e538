"""The files of a role opened: what each is, and one format and type per column over all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.agreement import common_carried, common_id
from pipeline.candidates.column_types import WIDE_DECIMAL
from pipeline.candidates.inputs import without_types
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.conditions import Conditions, conditions_of
from pipeline.sources.kinds import SPOKEN, Format, format_of, refuse_forced
from pipeline.sources.lance_rows import open_lance
from pipeline.sources.listing import files_of
from pipeline.sources.parquet_rows import groups_to_read, path_columns
from pipeline.sources.roles import Role, map_role
from pipeline.sources.shards import Source, SourceFile
from pipeline.sources.streams import Head, read_head
from pipeline.sources.tables import PLACES, table_schema
from pipeline.sources.text_files import open_text
from pipeline.storage.files import FileIdentity
from pipeline.storage.lance_tables import LanceTable
from pipeline.storage.parquet import read_footer
from pipeline.storage.parquet.limits import refuse_expansion
from pipeline.storage.store import with_content

#: Files that are opened at once: opening waits for the store.
_OPENED: Final = 16

_IDS: Final = (schema.QUERY_ID, schema.DOC_ID)

#: Formats that say how many rows they have.
_COUNTED: Final = ("parquet", "lance")

#: Of a table in a folder.
_NO_HEAD: Final = Head(data=b"", compression=None, expansion=1.0)


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
        if isinstance(file, LanceTable):
            return file, _NO_HEAD
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
    rows = sum(sum(one.groups) for one in opened) if kind in _COUNTED else None
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


def _open(
    kind: Format, role: Role, file: FileIdentity, head: Head, config: InputConfig,
    pass_through: tuple[str, ...], conditions: Conditions,
) -> SourceFile:  # fmt: skip
    if isinstance(file, LanceTable):
        return _open_lance(role, file, config, pass_through, conditions)
    if kind != "parquet":
        text, columns = open_text(
            kind, role, head, path=file.path, config=config, pass_through=pass_through,
            conditions=conditions,
        )  # fmt: skip
        return SourceFile(columns=columns, text=text, size_bytes=int(file.size * head.expansion))
    footer = read_footer(file)
    arrow = footer.schema if footer.rows else without_types(footer.schema)
    columns = map_role(
        role, arrow, path=file.path, config=config, pass_through=pass_through, uuids=footer.uuids,
        partitions=path_columns(footer),
    )  # fmt: skip
    stored = [name for name in columns.top() if name not in columns.partitions]
    footer.refuse_expansion(stored, config.max_expansion)
    wanted = groups_to_read(footer, conditions)
    places = footer.parsed.places(stored)
    sizes = np.maximum(footer.parsed.unpacked[:, places], footer.parsed.stored[:, places])
    return SourceFile(
        columns=columns, groups=footer.row_groups, wanted=tuple(wanted),
        size_bytes=int(sizes.sum(axis=1)[wanted].sum()) + 8 * footer.rows * len(places),
    )  # fmt: skip


def _open_lance(
    role: Role, table: LanceTable, config: InputConfig, pass_through: tuple[str, ...],
    conditions: Conditions,
) -> SourceFile:  # fmt: skip
    lance, columns = open_lance(
        role, table, config, pass_through=pass_through, conditions=conditions
    )
    size = lance.size_bytes
    refuse_expansion(size, table.size, table.path, limit=config.max_expansion)
    groups = tuple(fragment.rows for fragment in lance.fragments)
    return SourceFile(
        columns=columns, groups=groups, wanted=(True,) * len(groups), lance=lance, size_bytes=size
    )


def _agreed_format(
    role: Role, files: Sequence[tuple[FileIdentity, Head]], config: InputConfig
) -> Format:
    """The one format of all files."""
    forced = config.format if role == "candidates" else "auto"
    if forced != "auto":
        for file, head in files:
            if isinstance(file, LanceTable):
                raise InputContractError(
                    f"{file.path}: input.format is {forced}, but this is a Lance table; set "
                    "input.format to auto"
                )
            refuse_forced(forced, head.data, file.path)
        return forced
    kinds: list[Format] = [
        "lance" if isinstance(file, LanceTable) else format_of(head.data, file.path)
        for file, head in files
    ]
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
    for name, (path, kind) in agreed.items():
        if name in _IDS and kind == WIDE_DECIMAL:
            agreed[name] = (path, pa.string())
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
