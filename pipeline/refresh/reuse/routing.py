"""Yesterday's rows on their way to the part of today's input that has their query.

Queries are told by a hash of the text of their ids. Where two of today's share one, rows of both
go to the first one's part, where the ids themselves decide: the other is scored anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.id_runs import Runs, runs_of
from pipeline.candidates.inputs import Input
from pipeline.execution.runs.run_files import read_listed
from pipeline.hashes import Hashes
from pipeline.refresh.reuse.previous import without_it
from pipeline.refresh.reuse.work import GONE_DOCUMENTS, GONE_LISTS, PART, ROUTED, Work
from pipeline.staging.lookup import key_hashes, key_text

_COLUMNS = (
    schema.QUERY_ID,
    schema.DOC_ID,
    schema.CONTENT_KEY,
    schema.SCORE,
    schema.SCORED_AT,
)


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The part that each of today's queries is in.

    Attributes:
        hashes: uint64 [Q], of query ids, ascending.
        parts: int32 [Q], their parts.
    """

    hashes: Hashes
    parts: npt.NDArray[np.int32]

    @classmethod
    def of(cls, parts: Iterable[Hashes]) -> Routes:
        """Routes to parts in order, each given by the hashes of its queries."""
        found = list(parts)
        hashes = np.concatenate([np.zeros(0, np.uint64), *found])
        numbers = np.repeat(np.arange(len(found), dtype=np.int32), [len(one) for one in found])
        order = np.argsort(hashes, kind="stable")
        return cls(hashes=hashes[order], parts=numbers[order])

    def to(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """int64 [N]: the part of each query, -1 where it is in none."""
        if len(self.hashes) == 0:
            return np.full(len(hashes), -1, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[places] == hashes, self.parts[places], -1).astype(np.int64)


def queries_of(source: Input, start: int, stop: int) -> Hashes:
    """uint64: a hash of each query that begins in rows ``[start, stop)``; reads ids alone.

    Raises:
        InputContractError: a file cannot be read, or an id is of no use.
    """
    nested = source.columns.layout == "nested"
    beginning = start == 0 or nested
    found = [np.zeros(0, dtype=np.uint64)]
    before: pa.Scalar | None = None
    for runs in runs_of(source, start if beginning else start - 1, stop, nested=nested):
        ids = runs.ids
        if not beginning:  # rows that go on with the query before the range
            before = ids[0] if before is None else before
            leading = _leading(runs, before)
            beginning = leading < len(ids)
            ids = ids.slice(leading)
        keys = key_text(ids).drop_null()
        found.append(key_hashes(keys))
    return np.unique(np.concatenate(found))


def _leading(runs: Runs, before: pa.Scalar) -> int:
    """How many runs at the beginning are of a query, which is one or none."""
    return int(runs.ids[0].equals(before))


def routed(number: int, work: Work, routes: Routes, todo: Collection[int]) -> Iterator[pa.Table]:
    """The rows of a task's units, each with its part; those of other parts are left out.

    Args:
        number: of the task.
        work: the table.
        routes: to its parts.
        todo: parts that are to be made.

    Yields:
        Rows of :data:`ROUTED`; last one that stands for those of queries that are in no part, and
        goes to any part, always the same.

    Raises:
        DamagedRunError: a file is gone, or not the one that the manifest lists; names it.
    """
    wanted = np.array(sorted(todo), dtype=np.int64)
    documents = lists = 0
    for unit in work.old[number]:
        with without_it():
            tables = [read_listed(path, sha256, _COLUMNS) for path, sha256 in unit.files]
        rows = _as_routed(pa.concat_tables([table.replace_schema_metadata() for table in tables]))
        keys = rows.column(schema.QUERY_ID).combine_chunks()
        parts = routes.to(key_hashes(keys))
        gone = keys.filter(pa.array(parts < 0))
        documents, lists = documents + len(gone), lists + len(pc.unique(gone))
        rows = rows.set_column(0, ROUTED.field(PART), pa.array(parts))
        yield rows.filter(pa.array(np.isin(parts, wanted)))
    if number % len(work.parts) in todo:
        yield standing_for(number % len(work.parts), documents=documents, lists=lists)


def standing_for(part: int, *, documents: int = 0, lists: int = 0) -> pa.Table:
    """One row of :data:`ROUTED` in place of rows that are in no part, or of none."""
    values = {PART: part, GONE_DOCUMENTS: documents, GONE_LISTS: lists}
    return pa.Table.from_pylist([values], schema=ROUTED)


def _as_routed(rows: pa.Table) -> pa.Table:
    """Rows with ids as text, in no part yet; without those that lack an id, which name nothing."""
    found = {
        name: key_text(column) if name in (schema.QUERY_ID, schema.DOC_ID) else column
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }
    count = rows.num_rows
    arrays = [
        (found[field.name] if field.name in found else _nothing(field, count)) for field in ROUTED
    ]
    table = pa.table([a.cast(f.type) for a, f in zip(arrays, ROUTED, strict=True)], schema=ROUTED)
    named = (pc.is_valid(table.column(name)) for name in (schema.QUERY_ID, schema.DOC_ID))
    return table.filter(pc.and_(*named))


def _nothing(field: pa.Field, count: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(count, field.type)
    return pa.array(np.zeros(count, dtype=np.int64))
