"""What a process does with a part of a copy: reads its candidates, adds their texts, writes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.sources.source import Role, Shard, Source, read_shard
from pipeline.staging.clustering import cluster, part_of
from pipeline.staging.copy_folder import CopyFolder
from pipeline.staging.lookup import Lookup, key_text, widened
from pipeline.staging.part_file import part_bytes
from pipeline.staging.strategy import Sizes, Sources, Strategy
from pipeline.staging.survey import Range, rows_of

Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Work:
    """A copy that is being made; travels to every worker.

    Attributes:
        sources: what it is made of.
        strategy: how.
        folder: where it is put.
        layout: its columns.
        parts: how many.
        sizes: how much is done at once.
        shards: of each source, by its role.
        ranges: what is in each part, where that is a range of the candidates.
    """

    sources: Sources
    strategy: Strategy
    folder: CopyFolder
    layout: pa.Schema
    parts: int
    sizes: Sizes
    shards: Mapping[Role, tuple[Shard, ...]]
    ranges: tuple[Range, ...] = ()

    @property
    def candidates(self) -> tuple[Shard, ...]:
        """Shards of the candidates, which ranges count."""
        return self.shards["candidates"]


def read_lookup(
    source: Source | None,
    work: Work,
    *,
    wanted: Callable[[pa.Table], pa.Table] | None = None,
) -> Lookup | None:
    """A whole corpus, or all queries; None for None.

    Args:
        source: of role corpus or queries.
        work: the copy.
        wanted: picks the rows that are kept.

    Raises:
        InputContractError: an id stands there with two different contents.
    """
    if source is None:
        return None
    tables = (t for shard in work.shards[source.role] for t in read_shard(source, shard))
    kept = [widened(table if wanted is None else wanted(table)) for table in tables]
    return lookup_of(source, kept)


def lookup_of(source: Source, tables: list[pa.Table]) -> Lookup:
    """Rows of a corpus or of queries as a lookup."""
    rows = pa.concat_tables(tables, promote_options="permissive")
    return Lookup.of(
        rows, id_of(source), role=source.role, files=tuple(file.path for file in source.files)
    )


def id_of(source: Source) -> str:
    """The column that a source is joined by."""
    return schema.DOC_ID if source.role == "corpus" else schema.QUERY_ID


def make_range(number: int, work: Work, corpus: Lookup | None, queries: Lookup | None) -> Record:
    """Make and commit a part that is a range of the candidates."""
    tables = rows_of(work.sources.candidates, work.candidates, work.ranges[number])
    return make_part(number, joined_tables(tables, work), work, corpus, queries)


def joined_tables(tables: Iterable[pa.Table], work: Work) -> pa.Table:
    """Tables of candidates as one; of a copy without any, none."""
    wide = [widened(table) for table in tables] or [no_rows(work)]
    return pa.concat_tables(wide, promote_options="permissive").combine_chunks()


def no_rows(work: Work) -> pa.Table:
    """The candidates of a part without any."""
    return widened(work.sources.candidates.schema.empty_table())


def make_part(
    number: int, rows: pa.Table, work: Work, corpus: Lookup | None, queries: Lookup | None
) -> Record:
    """Order the candidates of a part, add what they refer to, and commit it."""
    order, starts = cluster(rows)
    made = part_bytes(
        rows, order, len(starts) - 1, work.layout, left_out=rows.num_rows - len(order),
        corpus=corpus, lookup=queries,
    )  # fmt: skip
    return work.folder.commit(number, made)


def hashed_rows(
    shard: Shard, work: Work, finished: Collection[int]
) -> Iterator[tuple[pa.Table, pa.Array]]:
    """Candidates of a shard, each with its part; those of finished parts are left out."""
    for table in read_shard(work.sources.candidates, shard):
        parts = part_of(table.column(schema.QUERY_ID), work.parts)
        open_ = ~np.isin(parts, list(finished))
        yield table.filter(pa.array(open_)), pa.array(parts[open_])


def make_hashed(number: int, work: Work, corpus: Lookup | None, queries: Lookup | None) -> Record:
    """Make and commit a part whose candidates stand anywhere, by reading all of them.

    What has no room in memory as a whole is looked through for what the part refers to.
    """
    others = set(range(work.parts)) - {number}
    tables = (rows for shard in work.candidates for rows, _ in hashed_rows(shard, work, others))
    rows = joined_tables(tables, work)
    if corpus is None and work.sources.corpus is not None:
        corpus = _needed(work.sources.corpus, rows, work)
    if queries is None and work.sources.queries is not None:
        queries = _needed(work.sources.queries, rows, work)
    return make_part(number, rows, work, corpus, queries)


def _needed(source: Source, rows: pa.Table, work: Work) -> Lookup | None:
    """The rows of a source that candidates refer to."""
    column = id_of(source)
    keys = pc.unique(key_text(rows.column(column)))

    def wanted(table: pa.Table) -> pa.Table:
        return table.filter(pc.is_in(key_text(table.column(column)), value_set=keys))

    return read_lookup(source, work, wanted=wanted)
