"""Rows of one unit become candidate lists: whole queries, every row accounted for.

A unit owns the queries whose *first* row lies in its row range. In the long layout it therefore
skips leading rows that continue the query before its range, and reads past its end until the query
changes; both neighbours follow the same rule, so every row belongs to exactly one unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.candidates.columns import ColumnMap
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import InputContractError

_INVALID_QUERY = "_invalid_query"
_ROW = "_row"


def read_lists(source: Input, start: int, stop: int, *, separator: str = " ") -> CandidateLists:
    """The candidate lists that rows ``[start, stop)`` own.

    Args:
        source: the opened input.
        start: first global row of the unit.
        stop: row after its last.
        separator: joins several text columns.

    Raises:
        InputContractError: a query's rows are not together, a file is damaged or has changed.
    """
    columns = source.columns
    if columns.layout == "nested":
        rows = _table(_nested_rows(source, start, stop, separator))
    else:
        rows = _long_rows(source, start, stop, separator)
    lists = _group(rows)
    _refuse_split_queries(lists, source, start, stop)
    return lists


def count_rows_of_queries(source: Input, limit: int) -> int:
    """Rows that the first ``limit`` queries of the input take; reads only query ids."""
    if source.columns.layout == "nested":
        return min(limit, source.rows)
    seen, position = 0, 0
    last: object = _INVALID_QUERY
    for _, batch in source.batches(0, source.rows, only=(schema.QUERY_ID,)):
        for value in _plain(batch.column(0)).to_pylist():
            if seen == 0 or value != last:
                if seen == limit:
                    return position
                seen += 1
                last = value
            position += 1
    return position


def _long_rows(source: Input, start: int, stop: int, separator: str) -> pa.Table:
    """Flat rows owned by the range: a row per candidate with its query beside it."""
    columns = source.columns
    rows = _table(_flat_rows(f, b, separator) for f, b in source.batches(start, stop))
    if start > 0:
        before = next(source.batches(start - 1, start, only=(schema.QUERY_ID,)))[1].column(0)
        rows = rows.slice(_leading(rows.column(schema.QUERY_ID), _ids(before, columns.query_id)))
    if rows.num_rows == 0:
        return rows
    last = rows.column(schema.QUERY_ID).slice(rows.num_rows - 1).combine_chunks()
    tail: list[pa.Table] = []
    for file, batch in source.batches(stop, source.rows):
        more = _flat_rows(file, batch, separator)
        same = _leading(more.column(schema.QUERY_ID), last)
        tail.append(more.slice(0, same))
        if same < more.num_rows:
            break
    return pa.concat_tables([rows, *tail])


def _leading(ids: pa.ChunkedArray, value: pa.Array) -> int:
    """How many values at the start of ``ids`` equal ``value`` [1]; null equals null."""
    wanted = value[0]
    if not wanted.is_valid:
        different = pc.is_valid(ids)
    else:
        different = pc.fill_null(pc.not_equal(ids, wanted), True)
    found = pc.index(different, True).as_py()
    return len(ids) if found < 0 else int(found)


def _flat_rows(file: InputFile, batch: pa.RecordBatch, separator: str) -> pa.Table:
    columns = file.columns
    table = pa.table(batch)
    outer = {name: _plain(table.column(source)) for name, source in columns.query.items()}
    inner = {name: _plain(table.column(name)) for name in table.column_names}
    return pa.table(_canonical(columns, outer, inner, separator))


def _nested_rows(source: Input, start: int, stop: int, separator: str) -> Iterator[pa.Table]:
    """Candidates of each row beside their query and the number of their row."""
    first = 0
    for file, batch in source.batches(start, stop):
        columns = file.columns
        lists = _plain(batch.column(str(columns.candidates)))
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        parents = np.repeat(np.arange(len(lists)), lengths)
        items = lists.flatten()
        names = [field.name for field in items.type]
        inner = {n: _plain(v) for n, v in zip(names, items.flatten(), strict=True)}
        wanted = {*columns.query.values()}
        wanted |= {name for name, level in columns.passed.items() if level == "query"}
        rows = {name: _plain(batch.column(name)).take(pa.array(parents)) for name in wanted}
        outer = {name: rows[column] for name, column in columns.query.items()}
        passed = {name: v for name, v in rows.items() if columns.passed.get(name) == "query"}
        table = pa.table(_canonical(columns, outer, {**inner, **passed}, separator))
        yield table.append_column(_ROW, pa.array(parents + first))
        first += len(lists)


def _canonical(
    columns: ColumnMap,
    outer: dict[str, pa.Array],
    inner: dict[str, pa.Array],
    separator: str,
) -> dict[str, pa.Array]:
    """Our columns, canonical types, from columns that are all [N] long."""
    candidate, count = columns.candidate, len(outer[schema.QUERY_ID])
    nothing = pa.nulls(count, pa.string())
    query, bad_query = reasons.to_text(outer.get(schema.QUERY, nothing))
    text, bad_text = _join([inner[name] for name in columns.text], separator, count)
    found = {
        schema.QUERY_ID: _ids(outer[schema.QUERY_ID], columns.query_id),
        schema.QUERY: query,
        _INVALID_QUERY: pa.array(bad_query),
        schema.DOC_ID: _ids(inner[candidate[schema.DOC_ID]], columns.doc_id),
        schema.TEXT: text,
        schema.REASON: reasons.first_reason([(reasons.INVALID_UTF8, bad_text)], count),
        schema.FIRST_STAGE_SCORE: _number(inner, candidate, schema.FIRST_STAGE_SCORE, count),
        schema.FIRST_STAGE_RANK: _number(inner, candidate, schema.FIRST_STAGE_RANK, count),
    }
    if schema.IMAGE in candidate:
        found[schema.IMAGE] = inner[candidate[schema.IMAGE]]
    if schema.QUERY_IMAGE in outer:
        found[schema.QUERY_IMAGE] = outer[schema.QUERY_IMAGE]
    return found | {name: inner[name] for name in columns.passed if name not in found}


def _group(rows: pa.Table) -> CandidateLists:
    """Flat rows become lists at every change of query; reasons and first-stage ranks are filled."""
    ids = rows.column(schema.QUERY_ID).combine_chunks()
    nested = _ROW in rows.column_names
    starts = _run_starts(rows.column(_ROW).combine_chunks() if nested else ids)
    offsets = np.append(starts, rows.num_rows).astype(np.int64)
    queries = pa.table(
        {
            schema.QUERY_ID: ids.take(pa.array(starts)),
            schema.QUERY: rows.column(schema.QUERY).combine_chunks().take(pa.array(starts)),
        }
    )
    if schema.QUERY_IMAGE in rows.column_names:
        images = rows.column(schema.QUERY_IMAGE).combine_chunks().take(pa.array(starts))
        queries = queries.append_column(schema.IMAGE, images)
    of_document = np.repeat(np.arange(len(starts)), np.diff(offsets))
    reason = _reasons(rows, queries, of_document)
    ranks = _first_stage_ranks(rows, offsets)
    ours = {schema.QUERY_ID, schema.QUERY, schema.QUERY_IMAGE, _INVALID_QUERY, _ROW}
    documents = rows.drop_columns([name for name in rows.column_names if name in ours])
    documents = _replace(documents, schema.REASON, reason)
    documents = _replace(documents, schema.FIRST_STAGE_RANK, ranks)
    return CandidateLists(queries=queries, offsets=offsets, documents=documents)


def _reasons(rows: pa.Table, queries: pa.Table, of_document: npt.NDArray[np.int64]) -> pa.Array:
    query = rows.column(schema.QUERY).combine_chunks()
    first = queries.column(schema.QUERY).combine_chunks().take(pa.array(of_document))
    same = pc.fill_null(pc.equal(query, first), False).to_numpy(zero_copy_only=False)
    both_null = reasons.is_null(query) & reasons.is_null(first)
    invalid_query = rows.column(_INVALID_QUERY).to_numpy()
    invalid_text = ~reasons.is_null(rows.column(schema.REASON))
    no_image, no_query_image = (
        reasons.is_null(rows.column(name))
        if name in rows.column_names
        else np.ones(rows.num_rows, dtype=bool)
        for name in (schema.IMAGE, schema.QUERY_IMAGE)
    )
    doc_ids = rows.column(schema.DOC_ID).combine_chunks()
    return reasons.first_reason(
        [
            (reasons.NULL_QUERY_ID, reasons.is_null(rows.column(schema.QUERY_ID))),
            (reasons.INVALID_UTF8, invalid_query | invalid_text),
            (reasons.NULL_QUERY, reasons.is_null(first) & no_query_image),
            (reasons.QUERY_MISMATCH, ~same & ~both_null),
            (reasons.NULL_DOC_ID, reasons.is_null(doc_ids)),
            (reasons.NULL_TEXT, reasons.is_null(rows.column(schema.TEXT)) & no_image),
            (reasons.DUPLICATE_DOCUMENT, reasons.duplicated(of_document, doc_ids)),
        ],
        rows.num_rows,
    )


def _first_stage_ranks(rows: pa.Table, offsets: npt.NDArray[np.int64]) -> pa.Array:
    """int32 [N]: the given ranks; where a list lacks one, its order by first-stage score or row.

    The sort is stable, so equal or missing scores keep the order of the rows.
    """
    given = rows.column(schema.FIRST_STAGE_RANK)
    missing = reasons.is_null(given)
    ranks = pc.fill_null(given, 0).to_numpy().astype(np.int64)
    scores = rows.column(schema.FIRST_STAGE_SCORE).to_numpy()
    for start, stop in pairwise(offsets.tolist()):
        if missing[start:stop].any():
            order = np.argsort(-np.nan_to_num(scores[start:stop], nan=-np.inf), kind="stable")
            ranks[start + order] = np.arange(1, stop - start + 1)
    return pa.array(ranks.astype(np.int32))


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
        "of a query must be together (over the files in sorted order). Sort the input by query_id "
        "once, for example with DuckDB: COPY (SELECT * FROM 'in/*.parquet' ORDER BY query_id) "
        "TO 'sorted.parquet'"
    )


def _run_starts(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Positions where the id differs from the one before; null equals null."""
    if len(ids) == 0:
        return np.zeros(0, dtype=np.int64)
    codes = pc.fill_null(pc.dictionary_encode(ids).indices, -1).to_numpy(zero_copy_only=False)
    return np.append(0, np.flatnonzero(np.diff(codes)) + 1).astype(np.int64)


def _table(parts: Iterable[pa.Table]) -> pa.Table:
    tables = list(parts)
    return pa.concat_tables(tables, promote_options="permissive")


def _plain(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _ids(values: pa.Array, kind: pa.DataType) -> pa.Array:
    values = _plain(values)
    if pa.types.is_integer(kind):
        return values.cast(kind)
    decoded, invalid = reasons.to_text(values)
    if invalid.any():
        raise InputContractError(
            f"an id in row {int(np.flatnonzero(invalid)[0])} of a batch is not valid UTF-8"
        )
    return decoded


def _number(inner: dict[str, pa.Array], candidate: object, name: str, count: int) -> pa.Array:
    kind = pa.float64() if name == schema.FIRST_STAGE_SCORE else pa.int32()
    found = candidate.get(name) if isinstance(candidate, dict) else None
    if found is None:
        return pa.nulls(count, kind)
    return inner[found].cast(kind)


def _join(
    parts: list[pa.Array], separator: str, count: int
) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Text columns joined row by row; nulls and empty strings are left out, all-null stays null."""
    if not parts:
        return pa.nulls(count, pa.string()), np.zeros(count, dtype=bool)
    decoded = [reasons.to_text(part) for part in parts]
    invalid = np.logical_or.reduce([bad for _, bad in decoded])
    texts = [text for text, _ in decoded]
    if len(texts) == 1:
        return texts[0], invalid
    nothing = pa.scalar(None, pa.string())
    filled = [pc.if_else(pc.equal(text, ""), nothing, text) for text in texts]
    # Arrow 26 drops a row of nulls instead of joining nothing, so such rows are made empty first.
    bare = np.logical_and.reduce([reasons.is_null(text) for text in filled])
    filled[0] = pc.if_else(pa.array(bare), "", filled[0])
    glue = pa.scalar(separator, pa.string())
    joined = pc.binary_join_element_wise(*filled, glue, null_handling="skip")
    all_null = np.logical_and.reduce([reasons.is_null(text) for text in texts])
    return pc.if_else(pa.array(all_null), nothing, joined), invalid


def _replace(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)
