"""The input as one long sequence of rows: files in order, each with its columns resolved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import pyarrow as pa

from pipeline.candidates.columns import ColumnMap, map_columns
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import Footer, read_footer, read_rows
from pipeline.storage.store import FileIdentity, identify, list_files


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the input.

    Attributes:
        identity: path, size and version when the plan was made.
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
            check_unchanged(file.identity)
            names = (
                file.columns.read_columns()
                if only is None
                else [file.columns.query[name] for name in only]
            )
            identity = file.identity
            for batch in read_rows(
                identity.path, lower, upper, columns=names, version=identity.version
            ):
                yield file, batch


def open_input(config: InputConfig, *, pass_through: tuple[str, ...] = ()) -> Input:
    """List the input, read every footer, and resolve every file's columns.

    Raises:
        NotFoundError: a path matches nothing.
        InputContractError: a file is damaged, lacks a column, or disagrees with the first one.
    """
    listed = {file.path: file for pattern in config.path for file in list_files(pattern)}
    with ThreadPoolExecutor(16) as pool:
        footers = list(pool.map(read_footer, (listed[path] for path in sorted(listed))))
    files: list[InputFile] = []
    first = 0
    for footer in footers:
        files.append(_input_file(footer, first, config, pass_through))
        first += footer.rows
    return Input(files=_with_common_ids(files))


def check_unchanged(identity: FileIdentity) -> None:
    """Refuse a file that is no longer the one that was planned.

    Raises:
        InputContractError: size or version differ; names the file and both versions.
    """
    now = identify(identity.path)
    if (now.size, now.version) != (identity.size, identity.version):
        raise InputContractError(
            f"{identity.path}: changed since the run was planned (size {identity.size} -> "
            f"{now.size}, version {identity.version} -> {now.version}); start the run again: "
            "it makes a new plan and leaves this run's folder as it is"
        )


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
