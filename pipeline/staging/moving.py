"""Rows on their way to the documents, the queries and the part that they belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.sources.source import Source, read_shard
from pipeline.staging.attaching import attached
from pipeline.staging.clustering import part_of
from pipeline.staging.lookup import KEY, Lookup, key_text, widened
from pipeline.staging.part_file import conformed
from pipeline.staging.work import Record, Work, hashed_rows, id_of, lookup_of, make_part

#: The part that a row belongs to, and where it meets its document.
PART: Final = "_part"
BUCKET: Final = "_bucket"

#: What a row is: one of the candidates, of the corpus, or of the queries.
_KIND: Final = "_kind"
_CANDIDATE, _DOCUMENT, _QUERY = range(3)


def moving_layout(work: Work) -> pa.Schema:
    """Columns of rows that are moved: those of all sources side by side."""
    kinds: dict[str, pa.DataType] = {}
    sources = work.sources
    for source in (sources.candidates, sources.corpus, sources.queries):
        if source is None:
            continue
        for field in widened(source.schema.empty_table()).schema:
            theirs = source is not sources.candidates and field.name == id_of(source)
            if not theirs and pa.types.is_null(kinds.get(field.name, pa.null())):
                kinds[field.name] = field.type
    kinds |= {name: pa.string() for name in (schema.REASON, schema.MESSAGE)}
    kinds |= {KEY: pa.large_string(), _KIND: pa.int8(), PART: pa.int64(), BUCKET: pa.int64()}
    return pa.schema([pa.field(name, kind) for name, kind in kinds.items()])


def rows_to_parts(batch: pa.Table, work: Work, finished: Collection[int]) -> Iterator[pa.Table]:
    """Candidates of a shard, each with its part."""
    [number] = batch.column("id").to_pylist()
    layout = moving_layout(work)
    yield layout.empty_table()
    for rows, parts in hashed_rows(work.candidates[number], work, finished):
        yield conformed(_with(widened(rows), {_KIND: _CANDIDATE, PART: parts}), layout)


def rows_to_documents(
    batch: pa.Table, work: Work, finished: Collection[int], buckets: int
) -> Iterator[pa.Table]:
    """Rows of a shard of the candidates or, beyond their number, of the corpus."""
    [number] = batch.column("id").to_pylist()
    if number < len(work.candidates):
        for rows in rows_to_parts(batch, work, finished):
            where = part_of(rows.column(schema.DOC_ID), buckets)
            yield rows.set_column(
                rows.column_names.index(BUCKET), BUCKET, pa.array(where, pa.int64())
            )
        return
    corpus = work.sources.corpus
    assert corpus is not None
    layout = moving_layout(work)
    for rows in read_shard(corpus, work.shards["corpus"][number - len(work.candidates)]):
        where = pa.array(part_of(rows.column(schema.DOC_ID), buckets), pa.int64())
        yield conformed(_referred(rows, corpus, {_KIND: _DOCUMENT, BUCKET: where}), layout)


def query_rows(batch: pa.Table, work: Work, finished: Collection[int]) -> Iterator[pa.Table]:
    """Queries of a shard, each with its part."""
    [number] = batch.column("id").to_pylist()
    queries = work.sources.queries
    assert queries is not None
    layout = moving_layout(work)
    for rows in read_shard(queries, work.shards["queries"][number]):
        parts = part_of(rows.column(schema.QUERY_ID), work.parts)
        open_ = pa.array(~np.isin(parts, list(finished)))
        tagged = _referred(rows, queries, {_KIND: _QUERY, PART: pa.array(parts)})
        yield conformed(tagged.filter(open_), layout)


def documents_attached(batch: pa.Table, work: Work) -> Iterator[pa.Table]:
    """Candidates of a bucket with their documents, a bounded number at a time."""
    corpus = work.sources.corpus
    assert corpus is not None
    layout = moving_layout(work)
    lookup = _lookup(batch, corpus, _DOCUMENT)
    yield layout.empty_table()
    candidates = _without(_of_kind(batch, _CANDIDATE), work)
    for piece in attached(candidates, corpus=lookup):
        yield conformed(piece, layout)


def write_parts(
    batch: pa.Table, work: Work, corpus: Lookup | None, queries: Lookup | None
) -> Iterator[Record]:
    """Make and commit every part that has rows in a partition."""
    numbers = pc.unique(batch.column(PART)).to_pylist()
    for number in sorted(numbers):
        of_part = pc.equal(batch.column(PART), number)
        own = queries
        if work.strategy.by_query and work.sources.queries is not None:
            own = _lookup(batch.filter(of_part), work.sources.queries, _QUERY)
        # Copied once: a partition may hold several parts, and a part a query of any size.
        wanted = pc.and_(of_part, pc.equal(batch.column(_KIND), _CANDIDATE))
        candidates = batch.filter(wanted).combine_chunks()
        if candidates.num_rows:
            yield make_part(number, candidates, work, corpus, own)


def _referred(rows: pa.Table, source: Source, tags: dict[str, int | pa.Array]) -> pa.Table:
    """Rows of a corpus or of queries under the text of their ids, those without one left out."""
    keys = key_text(rows.column(id_of(source)))
    tagged = _with(widened(rows.drop_columns([id_of(source)])), {KEY: keys, **tags})
    return tagged.filter(pc.is_valid(keys))


def _lookup(batch: pa.Table, source: Source, kind: int) -> Lookup:
    rows = _of_kind(batch, kind)
    names = [name for name in source.schema.names if name != id_of(source)]
    told = [name for name in (schema.REASON, schema.MESSAGE) if name not in names]
    kept = rows.select([*names, *told]).append_column(id_of(source), rows.column(KEY))
    return lookup_of(source, [kept])


def _without(rows: pa.Table, work: Work) -> pa.Table:
    """Candidates without the columns that only the corpus has, which stand there as nulls."""
    own = {*work.sources.candidates.schema.names, schema.REASON, schema.MESSAGE, PART, _KIND}
    return rows.select([name for name in rows.column_names if name in own])


def _of_kind(batch: pa.Table, kind: int) -> pa.Table:
    return batch.filter(pc.equal(batch.column(_KIND), kind))


def _with(rows: pa.Table, values: dict[str, int | pa.Array]) -> pa.Table:
    for name, value in values.items():
        column = pa.array(np.full(rows.num_rows, value)) if isinstance(value, int) else value
        rows = rows.append_column(name, column)
    return rows
