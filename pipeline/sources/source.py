"""Candidates, a corpus or queries: files of one format, cut into shards, read as canonical tables.

A table has our column names, ids in their own type (integers stay integers in Parquet; text formats
have text), and of every row the place that it stands at, which is also the order of candidates as
they are given. Rows that cannot be used have a reason; of candidates they are kept, for the run
quarantines them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.sources.lance_rows import lance_rows
from pipeline.sources.opening import open_source
from pipeline.sources.parquet_rows import parquet_rows
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.roles import Role, RoleColumns
from pipeline.sources.shards import Shard, Source, SourceFile
from pipeline.sources.tables import MALFORMED_LINE, PLACES, canonical, only_columns
from pipeline.sources.text_files import text_rows

__all__ = ["Role", "Shard", "Source", "open_source", "read_shard"]

logger = logging.getLogger("pipeline")

#: Rows that are wrong in a corpus or in queries of which the place is logged, of each shard.
_SHOWN: Final = 3


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
    if opened.lance is not None:
        return lance_rows(
            opened.lance, shard.start, shard.stop, columns, source.conditions, **limits
        )
    return parquet_rows(shard.file, shard.start, shard.stop, columns, source.conditions, **limits)


def _conformed(table: pa.Table, common: pa.Schema, wanted: Sequence[str]) -> pa.Table:
    """The columns that are wanted; those that only other files have are null."""
    columns = [
        table.column(name) if name in table.column_names
        else pa.nulls(table.num_rows, common.field(name).type)
        for name in wanted
    ]  # fmt: skip
    return pa.table(columns, schema=pa.schema([common.field(name) for name in wanted]))
