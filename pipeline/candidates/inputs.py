"""The input as one long sequence of rows: files in order, each with its columns resolved."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeVar

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.columns import ColumnMap, map_columns
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import Footer, read_footer, read_rows
from pipeline.storage.parquet.limits import MAX_EXPANSION, DecodeBudget
from pipeline.storage.store import (
    FileIdentity,
    distinct_files,
    identify,
    list_files,
    with_content,
)

logger = logging.getLogger("pipeline")

Found = TypeVar("Found")

#: How often a unit is read whose files are touched meanwhile, their content staying.
_READS: Final = 3

#: Marks the types of ids among those of copied columns, which may have any name.
_ID = "id "


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the input.

    Attributes:
        identity: path and content when the plan was made.
        first: global number of its first row.
        row_groups: rows of each row group.
        documents: candidates of each row group (equal to rows in the long layout).
        columns: how its columns are read.
    """

    identity: FileIdentity
    first: int
    row_groups: tuple[int, ...]
    documents: tuple[int, ...]
    columns: ColumnMap

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)

    @property
    def stop(self) -> int:
        """Global number of the row after its last."""
        return self.first + self.rows


@dataclass(frozen=True, kw_only=True)
class Input:
    """All files of a job in sorted order, with one layout and one type per id column.

    Attributes:
        files: those without rows among them.
        max_expansion: decoded bytes per stored byte past which much data is refused.
    """

    files: tuple[InputFile, ...]
    max_expansion: float = MAX_EXPANSION

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self.files[-1].stop if self.files else 0

    @property
    def columns(self) -> ColumnMap:
        """The column map of the first file; layout and types of columns hold for every file."""
        return self.files[0].columns

    def pieces(self, start: int, stop: int) -> Iterator[tuple[InputFile, int, int]]:
        """The files that rows ``[start, stop)`` lie in, each with its own local row range."""
        # A plan asks for every unit of ten thousand files: no looking through all of them.
        place = max(0, bisect_right(self.files, start, key=lambda file: file.first) - 1)
        for file in islice(self.files, place, None):
            if file.first >= stop:
                return
            lower, upper = max(start, file.first), min(stop, file.stop)
            if lower < upper:
                yield file, lower - file.first, upper - file.first

    def batches(
        self,
        start: int,
        stop: int,
        *,
        only: tuple[str, ...] | None = None,
        budget: DecodeBudget | None = None,
    ) -> Iterator[tuple[InputFile, int, pa.RecordBatch]]:
        """Rows ``[start, stop)`` in order, as record batches of the files' own columns.

        Args:
            start: first global row.
            stop: row after the last.
            only: our names of query-level columns to read; None reads everything needed.
            budget: what the caller keeps in memory; None: one batch at a time.

        Yields:
            The file, the batch's first row in it, and the batch.

        Raises:
            InputContractError: a file changed since the plan was made, cannot be decoded, or
                would become too large.
        """
        if budget is None:
            budget = DecodeBudget(max_expansion=self.max_expansion, keeps=False)
        for file, lower, upper in self.pieces(start, stop):
            names = (
                file.columns.read_columns()
                if only is None
                else [file.columns.query[name] for name in only]
            )
            identity, row = file.identity, lower
            self._opening(identity)
            for batch in read_rows(
                identity.path, lower, upper, columns=names, expected=identity, budget=budget
            ):
                yield file, row, batch
                row += batch.num_rows

    def _opening(self, identity: FileIdentity) -> None:
        """Called before a file is opened."""


@dataclass(frozen=True, kw_only=True)
class _WatchedInput(Input):
    """An input that notes what its files are when they are first opened."""

    opened: dict[str, FileIdentity] = field(default_factory=dict)

    def _opening(self, identity: FileIdentity) -> None:
        if identity.path not in self.opened:
            self.opened[identity.path] = identify(identity.path)

    def touched(self) -> list[str]:
        """Files that are not what they were; such a file may have been two things meanwhile."""
        return [path for path, before in self.opened.items() if identify(path) != before]


def read_unchanged(source: Input, read: Callable[[Input], Found]) -> Found:
    """What ``read`` makes of an input, none of whose files was written to meanwhile.

    A file is compared with the plan when it is opened. What is written into it after that shows in
    the times and the inode that it has at the end; where those are others, all is read again, which
    compares it again.

    Raises:
        InputContractError: a file is not the one that was planned, or is written to all the time.
    """
    for _ in range(_READS):
        watched = _WatchedInput(files=source.files, max_expansion=source.max_expansion)
        try:
            found = read(watched)
        except InputContractError:
            # A mixture may break any rule; what is right to say shows when it is read again.
            if not (touched := watched.touched()):
                raise
            continue
        if not (touched := watched.touched()):
            return found
    raise InputContractError(
        f"{touched[0]}: was written to each of the {_READS} times that it was read, so what was "
        "read may be a mixture; wait until nobody writes to it, and run again: it resumes"
    )


def open_input(config: InputConfig, *, pass_through: tuple[str, ...] = ()) -> Input:
    """List the input, read every footer, and resolve every file's columns.

    A file without rows agrees with any other: writers give its columns whatever types they like.

    Raises:
        NotFoundError: a path matches nothing.
        InputContractError: a file is damaged, lacks a column, holds a type that cannot be read,
            or disagrees with the first one; or there are no rows at all.
    """
    listed = [file for pattern in config.path for file in list_files(pattern)]
    files_once = distinct_files(listed)
    linked = {file.path for file in listed} - {file.path for file in files_once}
    if linked:
        logger.warning(
            "%d files of the input are links to others and are read once, e.g. %s",
            len(linked),
            min(linked),
        )
    whole_bytes = int(config.hash_mib * 2**20)

    def look(file: FileIdentity) -> Footer:
        return read_footer(with_content(file, whole_bytes=whole_bytes))

    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(look, files_once))
    if not config.allow_empty and not any(footer.rows for footer in footers):
        raise InputContractError(
            f"{', '.join(config.path)}: no rows in {len(footers)} file(s), so there is nothing to "
            "rerank; see to the step that wrote them, or set input.allow_empty to publish a run "
            "without candidates"
        )
    filled = [footer for footer in footers if footer.rows]
    columns = {
        footer.file.path: _columns(footer, config, pass_through) for footer in filled or footers
    }
    mapped = _agreed(columns)
    common = next(iter(mapped.values()))
    files: list[InputFile] = []
    first = 0
    for footer in footers:
        files.append(_input_file(footer, first, mapped.get(footer.file.path, common)))
        first += footer.rows
    return Input(files=tuple(files), max_expansion=config.max_expansion)


def _columns(footer: Footer, config: InputConfig, pass_through: tuple[str, ...]) -> ColumnMap:
    columns = map_columns(
        footer.schema if footer.rows else _without_types(footer.schema),
        source=footer.file.path,
        layout=config.layout,
        columns=config.columns,
        text_columns=config.text_columns,
        pass_through=pass_through,
        uuids=footer.uuids,
    )
    footer.refuse_expansion(columns.read_columns(), config.max_expansion)
    return columns


def _without_types(arrow: pa.Schema) -> pa.Schema:
    """The columns of a file without rows, whose types mean nothing outside lists."""
    return pa.schema(
        [one if one.type.num_fields else pa.field(one.name, pa.null()) for one in arrow]
    )


def _input_file(footer: Footer, first: int, columns: ColumnMap) -> InputFile:
    return InputFile(
        identity=footer.file,
        first=first,
        row_groups=footer.row_groups,
        documents=footer.row_groups if columns.layout == "long" else footer.values,
        columns=columns,
    )


def _agreed(columns: dict[str, ColumnMap]) -> dict[str, ColumnMap]:
    """One layout and one type per column over all files, by path.

    Integer widths may differ (the widest is used), and nulls agree with anything; kinds may not.
    """
    [(path, reference), *others] = columns.items()
    types: dict[str, tuple[str, pa.DataType]] = {}
    for name, kind in _types(reference).items():
        types[name] = (path, kind)
    for other, found in others:
        if found.layout != reference.layout:
            raise InputContractError(
                f"{other}: {found.layout} layout, but {path} is {reference.layout}; rerank them "
                "apart"
            )
        for name, kind in _types(found).items():
            types[name] = _common(types.get(name, (other, kind)), (other, kind), name)
    query_id, doc_id = (
        pa.string() if pa.types.is_null(kind) else kind
        for _, kind in (types.pop(_ID + schema.QUERY_ID), types.pop(_ID + schema.DOC_ID))
    )
    carried = {name: kind for name, (_, kind) in types.items()}
    return {
        path: replace(
            found,
            query_id=query_id,
            doc_id=doc_id,
            carried={name: carried[name] for name in found.carried},
        )
        for path, found in columns.items()
    }


def _types(columns: ColumnMap) -> dict[str, pa.DataType]:
    ids = {_ID + schema.QUERY_ID: columns.query_id, _ID + schema.DOC_ID: columns.doc_id}
    return ids | dict(columns.carried)


def _common(
    left: tuple[str, pa.DataType], right: tuple[str, pa.DataType], name: str
) -> tuple[str, pa.DataType]:
    """The type that holds both, and a file that it stands in."""
    (one, first), (other, second) = left, right
    if first == second or pa.types.is_null(second):
        return left
    if pa.types.is_null(first):
        return right
    found = _common_id(first, second) if name.startswith(_ID) else _common_carried(first, second)
    if found is None:
        raise InputContractError(
            f"{other}: '{name.removeprefix(_ID)}' holds {second}, but {first} in {one}; write "
            "both files with one type"
        )
    return one, found


def _common_id(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_integer(first) and pa.types.is_integer(second)):
        return None
    unsigned = pa.types.is_unsigned_integer(first) and pa.types.is_unsigned_integer(second)
    # What does not fit a signed number is refused by value: every other type would rename ids.
    return pa.uint64() if unsigned and pa.uint64() in (first, second) else pa.int64()


def _common_carried(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    try:
        merged = pa.unify_schemas(
            [pa.schema([pa.field("x", first)]), pa.schema([pa.field("x", second)])],
            promote_options="permissive",
        )
    except (pa.ArrowTypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return merged.field("x").type
