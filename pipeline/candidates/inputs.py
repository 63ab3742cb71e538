"""The input as one long sequence of rows: files in order, each with its columns resolved."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.agreement import agreed
from pipeline.candidates.columns import ColumnMap, map_columns
from pipeline.candidates.partitions import (
    Partitions,
    partitions_of,
    refuse_disagreement,
    repeated,
)
from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.storage.parquet import Footer, read_footer, read_rows
from pipeline.storage.parquet.limits import MAX_EXPANSION, DecodeBudget
from pipeline.storage.parquet.ranges import ValueRange
from pipeline.storage.store import (
    FileIdentity,
    distinct_files,
    list_files,
    with_content,
)

logger = logging.getLogger("pipeline")

#: Rows of a batch that holds nothing but columns of the path.
_PATH_ROWS: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """One file of the input.

    Attributes:
        identity: path and content when the plan was made.
        first: global number of its first row.
        row_groups: rows of each row group.
        documents: candidates of each row group (equal to rows in the long layout).
        columns: how its columns are read.
        partitions: those columns of its path that are read.
        most_parts: into how many units each row group may be cut; None where any number costs the
            same, and nothing where that holds for all.
        ids: what the footer says of the query ids of each row group; nothing where it cannot.
    """

    identity: FileIdentity
    first: int
    row_groups: tuple[int, ...]
    documents: tuple[int, ...]
    columns: ColumnMap
    partitions: Partitions = field(default_factory=dict)
    most_parts: tuple[int | None, ...] = ()
    ids: tuple[ValueRange, ...] = field(default=(), repr=False, compare=False)

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
        base: beginning of the files' paths that is no part of what they are, so that units are
            named alike wherever a staged copy lies.
    """

    files: tuple[InputFile, ...]
    max_expansion: float = MAX_EXPANSION
    base: str = ""

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self.files[-1].stop if self.files else 0

    @property
    def documents(self) -> int:
        """Candidates of all files, by their footers."""
        return sum(sum(file.documents) for file in self.files)

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
                [*file.columns.read_columns(), *file.partitions]
                if only is None
                else [file.columns.query[name] for name in only]
            )
            row = lower
            self._opening(file.identity)
            for batch in _file_batches(file, lower, upper, names, budget):
                yield file, row, batch
                row += batch.num_rows

    def _opening(self, identity: FileIdentity) -> None:
        """Called before a file is opened; for a subclass that keeps watch over the files."""


def open_input(
    config: InputConfig, *, pass_through: tuple[str, ...] = (), staged: bool = False
) -> Input:
    """List the input, read every footer, and resolve every file's columns.

    A file without rows agrees with any other: writers give its columns whatever types they like.

    Args:
        config: where it is, and what its columns are called.
        pass_through: columns that are copied to the output.
        staged: whether it is a staged copy, whose rows may have a reason against them, and which
            is the same wherever it lies.

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
            "files of the input that are links to others, and are read once: %d, e.g. %s",
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
    refuse_disagreement(
        {footer.file.path: footer.schema.names for footer in filled},
        [*config.columns.values(), *(config.text_columns or ()), *pass_through],
    )
    columns = {
        footer.file.path: _columns(footer, config, pass_through, staged)
        for footer in filled or footers
    }
    mapped = agreed(columns)
    common = next(iter(mapped.values()))
    files: list[InputFile] = []
    first = 0
    for footer in footers:
        files.append(_input_file(footer, first, mapped.get(footer.file.path, common)))
        first += footer.rows
    base = f"{files[0].identity.path.rpartition('/')[0]}/" if staged else ""
    return Input(files=tuple(files), max_expansion=config.max_expansion, base=base)


def _file_batches(
    file: InputFile, lower: int, upper: int, names: list[str], budget: DecodeBudget
) -> Iterator[pa.RecordBatch]:
    """Rows of a file, columns of its path beside those that it holds."""
    added = [name for name in names if name in file.partitions]
    stored = [name for name in names if name not in added]
    if not stored:
        for start in range(lower, upper, _PATH_ROWS):
            count = min(_PATH_ROWS, upper - start)
            arrays = [repeated(file.partitions[name], count) for name in names]
            yield pa.record_batch(arrays, names=names)
        return
    path, identity = file.identity.path, file.identity
    for batch in read_rows(path, lower, upper, columns=stored, expected=identity, budget=budget):
        for name in added:
            batch = batch.append_column(name, repeated(file.partitions[name], batch.num_rows))
        yield batch


def _columns(
    footer: Footer, config: InputConfig, pass_through: tuple[str, ...], staged: bool
) -> ColumnMap:
    columns = map_columns(
        footer.schema if footer.rows else without_types(footer.schema),
        source=footer.file.path,
        layout=config.layout,
        columns=config.columns,
        text_columns=config.text_columns,
        pass_through=pass_through,
        uuids=footer.uuids,
        partitions={} if staged else partitions_of(footer.file.path),
        staged=staged,
    )
    footer.refuse_expansion(columns.read_columns(), config.max_expansion)
    return columns


def without_types(arrow: pa.Schema) -> pa.Schema:
    """The columns of a file without rows, whose types mean nothing outside lists."""
    return pa.schema(
        [field if field.type.num_fields else pa.field(field.name, pa.null()) for field in arrow]
    )


def _input_file(footer: Footer, first: int, columns: ColumnMap) -> InputFile:
    values = partitions_of(footer.file.path)
    most = footer.most_parts(columns.read_columns()) if footer.rows else ()
    return InputFile(
        identity=footer.file,
        first=first,
        row_groups=footer.row_groups,
        documents=footer.row_groups if columns.layout == "long" else footer.values,
        columns=columns,
        partitions={name: values[name] for name in sorted(columns.partitions) if name in values},
        most_parts=most if any(most) else (),
        ids=footer.ranges(columns.query[schema.QUERY_ID]) if footer.rows else (),
    )
