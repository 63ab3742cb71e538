"""The input as one long sequence of rows: files in order, each with its columns resolved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeVar

import pyarrow as pa

from pipeline.candidates.columns import ColumnMap, map_columns
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import Footer, read_footer, read_rows
from pipeline.storage.store import FileIdentity, identify, list_files, with_content

Found = TypeVar("Found")

#: How often a unit is read whose files are touched meanwhile, their content staying.
_READS: Final = 3


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
    """All files of a job in sorted order, with one layout and one type per id column."""

    files: tuple[InputFile, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self.files[-1].stop if self.files else 0

    @property
    def columns(self) -> ColumnMap:
        """The column map of the first file; layout and id types hold for every file."""
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
        self, start: int, stop: int, *, only: tuple[str, ...] | None = None
    ) -> Iterator[tuple[InputFile, pa.RecordBatch]]:
        """Rows ``[start, stop)`` in order, as record batches of the files' own columns.

        Args:
            start: first global row.
            stop: row after the last.
            only: our names of query-level columns to read; None reads everything needed.

        Raises:
            InputContractError: a file changed since the plan was made, or cannot be decoded.
        """
        for file, lower, upper in self.pieces(start, stop):
            names = (
                file.columns.read_columns()
                if only is None
                else [file.columns.query[name] for name in only]
            )
            self._opening(file.identity)
            for batch in read_rows(
                file.identity.path, lower, upper, columns=names, expected=file.identity
            ):
                yield file, batch

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
        watched = _WatchedInput(files=source.files)
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

    Raises:
        NotFoundError: a path matches nothing.
        InputContractError: a file is damaged, lacks a column, or disagrees with the first one.
    """
    listed = {file.path: file for pattern in config.path for file in list_files(pattern)}
    whole_bytes = int(config.hash_mib * 2**20)

    def look(path: str) -> Footer:
        return read_footer(with_content(listed[path], whole_bytes=whole_bytes))

    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(look, sorted(listed)))
    files: list[InputFile] = []
    first = 0
    for footer in footers:
        files.append(_input_file(footer, first, config, pass_through))
        first += footer.rows
    return Input(files=_with_common_ids(files))


def _input_file(
    footer: Footer, first: int, config: InputConfig, pass_through: tuple[str, ...]
) -> InputFile:
    columns = map_columns(
        footer.schema,
        source=footer.file.path,
        layout=config.layout,
        columns=config.columns,
        text_columns=config.text_columns,
        pass_through=pass_through,
    )
    return InputFile(
        identity=footer.file,
        first=first,
        row_groups=footer.row_groups,
        documents=footer.row_groups if columns.layout == "long" else footer.values,
        columns=columns,
    )


def _with_common_ids(files: list[InputFile]) -> tuple[InputFile, ...]:
    """Integer widths may differ between files (the widest is used); kinds and layouts may not."""
    reference = files[0]
    query_id, doc_id = reference.columns.query_id, reference.columns.doc_id
    for file in files[1:]:
        if file.columns.layout != reference.columns.layout:
            raise InputContractError(
                f"{file.identity.path}: {file.columns.layout} layout, but "
                f"{reference.identity.path} is {reference.columns.layout}; rerank them apart"
            )
        query_id = _common(query_id, file.columns.query_id, "query_id", reference, file)
        doc_id = _common(doc_id, file.columns.doc_id, "doc_id", reference, file)
    return tuple(
        replace(file, columns=replace(file.columns, query_id=query_id, doc_id=doc_id))
        for file in files
    )


def _common(
    left: pa.DataType, right: pa.DataType, name: str, first: InputFile, second: InputFile
) -> pa.DataType:
    if left == right:
        return left
    if pa.types.is_integer(left) and pa.types.is_integer(right):
        return pa.int64()
    raise InputContractError(
        f"{second.identity.path}: '{name}' holds {right}, but {left} in {first.identity.path}; "
        "write both files with one type"
    )
