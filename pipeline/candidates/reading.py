"""Rows of one unit become candidate lists: whole queries, every row accounted for.

A unit owns the queries whose *first* row lies in its row range. In the long layout it therefore
skips leading rows that continue the query before its range, and reads past its end until the query
changes; both neighbours follow the same rule, so every row belongs to exactly one unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.canonical import (
    candidate_columns,
    plain,
    plain_columns,
    query_columns,
)
from pipeline.candidates.casting import Place, to_ids
from pipeline.candidates.columns import ColumnMap
from pipeline.candidates.grouping import concatenated, group_lists, group_rows
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.nested_items import items_of, positions
from pipeline.candidates.partitions import repeated
from pipeline.errors import InputContractError
from pipeline.storage.parquet.limits import DecodeBudget

#: Files, the first row of each batch in its file, and the batch.
Batches = Iterable[tuple[InputFile, int, pa.RecordBatch]]

#: What a candidate takes beside its values while its unit is at work: reasons, ranks, places.
_CANDIDATE_BYTES = 128


def read_lists(source: Input, start: int, stop: int, *, separator: str = " ") -> CandidateLists:
    """The candidate lists that rows ``[start, stop)`` own.

    Args:
        source: the opened input.
        start: first global row of the unit.
        stop: row after its last.
        separator: joins several text columns.

    Returns:
        Every query of these rows, those of the nested layout that have no candidates among them.

    Raises:
        InputContractError: a query's rows are not together, a value does not fit its column, a
            file is damaged, has changed, or would become too large.
    """
    budget = DecodeBudget(max_expansion=source.max_expansion)
    if source.columns.layout == "nested":
        lists = _nested_lists(source.batches(start, stop, budget=budget), separator, budget)
    else:
        rows = _long_rows(source, start, stop, separator, budget)
        lists = group_rows(rows.queries, rows.documents)
        if _may_be_empty(source):
            lists = lists.without(reasons.NO_CANDIDATES)
    _refuse_split_queries(lists, source, start, stop)
    return lists


def lists_of(source: Input, batches: Batches, *, separator: str = " ") -> CandidateLists:
    """The candidate lists of whole queries, whose rows come batch by batch, in order.

    Args:
        source: the opened input.
        batches: as :meth:`pipeline.candidates.inputs.Input.batches` gives them, at least one.
        separator: joins several text columns.

    Raises:
        InputContractError: a value does not fit its column, a file is damaged, or has changed.
    """
    budget = DecodeBudget(max_expansion=source.max_expansion)
    if source.columns.layout == "nested":
        return _nested_lists(batches, separator, budget)
    rows = _Rows.joined(
        _flat_rows(file, row, batch, separator, budget) for file, row, batch in batches
    )
    lists = group_rows(rows.queries, rows.documents)
    return lists.without(reasons.NO_CANDIDATES) if _may_be_empty(source) else lists


def gathered_lists(source: Input, start: int, stop: int, *, separator: str = " ") -> CandidateLists:
    """The candidates of rows ``[start, stop)``, brought together by query wherever they stand.

    Unlike :func:`read_lists` it reads no row outside the range, so the first and the last list may
    be parts of what the input has; it is for looking at inputs that are not grouped.

    Raises:
        InputContractError: a value does not fit its column, a file is damaged, has changed, or
            would become too large.
    """
    budget = DecodeBudget(max_expansion=source.max_expansion)
    if source.columns.layout == "nested":
        return _nested_lists(source.batches(start, stop, budget=budget), separator, budget)
    rows = _Rows.joined(
        _flat_rows(file, row, batch, separator, budget)
        for file, row, batch in source.batches(start, stop, budget=budget)
    )
    # Arrow's sort is stable, so the rows of a query stay in their order.
    places = pc.sort_indices(rows.ids)
    return group_rows(rows.queries.take(places), rows.documents.take(places))


def count_rows_of_queries(source: Input, limit: int) -> int:
    """Rows that the first ``limit`` queries of the input take; reads only query ids."""
    if source.columns.layout == "nested":
        return min(limit, source.rows)
    seen, position = 0, 0
    last: object = None
    for file, row, batch in source.batches(0, source.rows, only=(schema.QUERY_ID,)):
        for value in query_ids(source, file, row, batch).to_pylist():
            if seen == 0 or value != last:
                if seen == limit:
                    return position
                seen += 1
                last = value
            position += 1
    return position


@dataclass(frozen=True)
class _Rows:
    """Candidates [N] and, row by row beside them, their queries [N]."""

    queries: pa.Table
    documents: pa.Table

    def __len__(self) -> int:
        return int(self.documents.num_rows)

    @property
    def ids(self) -> pa.ChunkedArray:
        return self.queries.column(schema.QUERY_ID)

    def slice(self, start: int, length: int | None = None) -> _Rows:
        return _Rows(self.queries.slice(start, length), self.documents.slice(start, length))

    @classmethod
    def joined(cls, parts: Iterable[_Rows]) -> _Rows:
        queries, documents = zip(*((part.queries, part.documents) for part in parts), strict=True)
        return cls(concatenated(queries), concatenated(documents))


def _long_rows(source: Input, start: int, stop: int, separator: str, budget: DecodeBudget) -> _Rows:
    """The rows owned by the range."""
    rows = _Rows.joined(
        _flat_rows(file, row, batch, separator, budget)
        for file, row, batch in source.batches(start, stop, budget=budget)
    )
    if start > 0:
        rows = rows.slice(_leading(rows.ids, _id_before(source, start)))
    if len(rows) == 0:
        return rows
    last = rows.ids.slice(len(rows) - 1).combine_chunks()
    tail: list[_Rows] = []
    for file, row, batch in source.batches(stop, source.rows, budget=budget):
        more = _flat_rows(file, row, batch, separator, budget)
        same = _leading(more.ids, last)
        tail.append(more.slice(0, same))
        if same < len(more):
            break
    return _Rows.joined([rows, *tail])


def _id_before(source: Input, start: int) -> pa.Array:
    """The query id [1] of the row before a range."""
    return query_ids(source, *next(source.batches(start - 1, start, only=(schema.QUERY_ID,))))


def query_ids(source: Input, file: InputFile, row: int, batch: pa.RecordBatch) -> pa.Array:
    """The query ids [N] of a batch of nothing else, in the type that they have in all files.

    Raises:
        InputContractError: one does not fit that type; names file, row and column.
    """
    [values] = plain_columns(file.columns, "query", _by_name(batch)).values()
    place = _place(file, np.arange(row, row + batch.num_rows))
    return to_ids(values, source.columns.query_id, schema.QUERY_ID, place)


def _leading(ids: pa.ChunkedArray, value: pa.Array) -> int:
    """How many values at the start of ``ids`` equal ``value`` [1]; null equals null."""
    wanted = value[0]
    if not wanted.is_valid:
        different = pc.is_valid(ids)
    else:
        different = pc.fill_null(pc.not_equal(ids, wanted), True)
    found = pc.index(different, True).as_py()
    return len(ids) if found < 0 else int(found)


def _flat_rows(
    file: InputFile, row: int, batch: pa.RecordBatch, separator: str, budget: DecodeBudget
) -> _Rows:
    columns = file.columns
    budget.add(batch.num_rows * _CANDIDATE_BYTES, file.identity.path)
    place = _place(file, np.arange(row, row + batch.num_rows))
    rows = plain_columns(columns, "candidate", _by_name(batch))
    return _Rows(
        pa.table(query_columns(columns, rows, place)),
        pa.table(candidate_columns(columns, rows, separator, place)),
    )


def _may_be_empty(source: Input) -> bool:
    """Of a query without candidates a staged copy has one row, which says so."""
    return schema.REASON in source.columns.candidate


def _nested_lists(batches: Batches, separator: str, budget: DecodeBudget) -> CandidateLists:
    queries, documents, lengths = [], [], []
    for file, row, batch in batches:
        columns = file.columns
        place = _place(file, np.arange(row, row + batch.num_rows))
        listed = str(columns.candidates)
        values = plain(batch.column(listed))
        items, counts = items_of(values, listed, _fields_read(columns), place)
        budget.add(len(items) * _CANDIDATE_BYTES, file.identity.path)
        wanted = {*columns.query.values()}
        wanted |= {name for name, level in columns.passed.items() if level == "query"}
        outer = plain_columns(columns, "query", {n: batch.column(n) for n in wanted})
        queries.append(pa.table(query_columns(columns, outer, place)))
        parents = np.repeat(np.arange(len(counts)), counts)
        inner = plain_columns(columns, "candidate", _candidate_fields(file, items, counts))
        for name, level in columns.passed.items():
            if level == "query":
                _refuse_repeating(outer[name], counts, budget, file)
                inner[name] = outer[name].take(pa.array(parents))
        place = _place(file, place.rows[parents])
        documents.append(pa.table(candidate_columns(columns, inner, separator, place)))
        lengths.append(counts)
    return group_lists(concatenated(queries), concatenated(documents), np.concatenate(lengths))


def _fields_read(columns: ColumnMap) -> set[str]:
    """Fields of candidates that are used."""
    passed = {name for name, level in columns.passed.items() if level == "candidate"}
    return {*columns.candidate.values(), *columns.text, *passed}


def _candidate_fields(
    file: InputFile, items: pa.Array, counts: npt.NDArray[np.int64]
) -> dict[str, pa.Array]:
    """The fields of candidates [N] by the file's names, columns of its path among them."""
    columns = file.columns
    found = {name: repeated(value, len(items)) for name, value in file.partitions.items()}
    found[schema.POSITION] = positions(counts)
    if not pa.types.is_null(items.type):
        names = [field.name for field in items.type]
        return found | dict(zip(names, items.flatten(), strict=True))
    return dict.fromkeys(_fields_read(columns), items)


def _refuse_repeating(
    values: pa.Array, counts: npt.NDArray[np.int64], budget: DecodeBudget, file: InputFile
) -> None:
    """Refuse a value of a query that is written beside each of its candidates, where that is much.

    Raises:
        ExpansionError: names the file.
    """
    try:
        sizes = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    except pa.ArrowNotImplementedError:
        sizes = np.full(len(values), values.nbytes / max(len(values), 1))
    budget.add(int((sizes.astype(np.int64) * counts).sum()), file.identity.path)


def _place(file: InputFile, rows: npt.NDArray[np.int64]) -> Place:
    return Place(path=file.identity.path, rows=rows)


def _by_name(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _refuse_split_queries(lists: CandidateLists, source: Input, start: int, stop: int) -> None:
    counted = pc.value_counts(lists.queries.column(schema.QUERY_ID).drop_null())
    repeated = counted.filter(pc.greater(pc.struct_field(counted, "counts"), 1))
    if len(repeated):
        paths = ", ".join(file.identity.path for file, _, _ in source.pieces(start, stop))
        raise split_query_error(repeated[0]["values"].as_py(), paths)


def split_query_error(query_id: object, where: str) -> InputContractError:
    """The refusal of an unsorted input, naming the query whose rows are apart."""
    return InputContractError(
        f"{where}: unsorted input: query_id {query_id!r} stands in two separate places; all rows "
        "of a query must be together (over the files in sorted order). Set input.order to "
        "scattered, and they are brought together in a staged copy; or sort the input by query_id "
        "once, for example with DuckDB: COPY (SELECT * FROM 'in/*.parquet' ORDER BY query_id) TO "
        "'sorted.parquet'"
    )
