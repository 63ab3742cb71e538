"""Two tables of ranked rows compared: what is new, changed or gone. Pure; one bucket at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.refresh.changes.counting import counted
from pipeline.refresh.changes.equality import differ
from pipeline.refresh.changes.layout import CHANGED, GONE, NEW, Layout
from pipeline.refresh.changes.matching import Ints, Matched, match
from pipeline.refresh.changes.statistics import Statistics

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What came of it: tables of :attr:`Layout.rows` and :attr:`Layout.lists`, and statistics."""

    rows: pa.Table
    lists: pa.Table
    statistics: Statistics


def compare(before: pa.Table, after: pa.Table, layout: Layout) -> Compared:
    """Compare all rows of some queries.

    Args:
        before: query_id, doc_id (of the layout's types), rank, score, reason and the columns that
            are compared; rows in any order.
        after: likewise, with all columns that are carried.
        layout: what is compared.
    """
    matched = match(before, after)
    changed = _changed(matched, layout)
    rows = _rows(matched, changed, layout)
    lists = _lists(matched, changed, layout)
    return Compared(rows=rows, lists=lists, statistics=counted(matched, rows, lists))


def _changed(matched: Matched, layout: Layout) -> Bools:
    """bool [N] of rows of ``after``: they were there before, and something is different now."""
    known = matched.of_after >= 0
    if layout.reshaped:
        return known
    now, then = np.flatnonzero(known), matched.of_after[known]
    different = np.zeros(len(now), dtype=bool)
    for name in (schema.RANK, schema.SCORE, schema.REASON, *layout.compared):
        one = matched.after.column(name).take(pa.array(now))
        different |= differ(one, matched.before.column(name).take(pa.array(then)))
    found = np.zeros(len(known), dtype=bool)
    found[now[different]] = True
    return found


def _rows(matched: Matched, changed: Bools, layout: Layout) -> pa.Table:
    new = matched.of_after < 0
    taken = np.flatnonzero(new | changed)
    before, after = matched.before, matched.after
    previous = np.concatenate([matched.of_after[taken], matched.gone])
    current = np.concatenate([taken, np.full(len(matched.gone), -1)])
    kinds = np.where(new[taken], NEW, CHANGED).tolist() + [GONE] * len(matched.gone)
    queries = np.concatenate([after.queries[taken], before.queries[matched.gone]])
    # Rows of today come first in a list, by their rank, then those that are gone, by theirs.
    order = np.lexsort((previous, current, current < 0, queries))
    previous, current = previous[order], current[order]
    now, then = _places(current), _places(previous)

    def ids(name: str) -> pa.Array:
        return pc.coalesce(after.column(name).take(now), before.column(name).take(then))

    arrays = {
        schema.QUERY_ID: ids(schema.QUERY_ID),
        schema.DOC_ID: ids(schema.DOC_ID),
        schema.CHANGE: pa.array(kinds, pa.string()).take(pa.array(order)),
        schema.PREVIOUS_RANK: before.column(schema.RANK).take(then),
        schema.PREVIOUS_SCORE: before.column(schema.SCORE).take(then),
    }
    names = [name for name in layout.rows.names if name not in arrays]
    arrays |= {name: after.column(name).take(now) for name in names}
    return pa.table([arrays[name] for name in layout.rows.names], schema=layout.rows)


def _places(rows: Ints) -> pa.Array:
    """Indices to take rows by, null for -1, which gives null."""
    return pa.array(rows, mask=rows < 0)


def _lists(matched: Matched, changed: Bools, layout: Layout) -> pa.Table:
    before, after = matched.before, matched.after
    distinct = len(matched.query_ids)
    touched = np.zeros(distinct, dtype=bool)
    touched[after.queries[changed | (matched.of_after < 0)]] = True
    touched[before.queries[matched.gone]] = True
    numbers = np.flatnonzero(touched)
    counts = np.bincount(after.queries, minlength=distinct)
    were = np.bincount(before.queries, minlength=distinct)[numbers] > 0
    kinds = np.where(counts[numbers] == 0, GONE, np.where(were, CHANGED, NEW))
    taken = pa.array(np.flatnonzero(touched[after.queries]))
    offsets = pa.array(np.append(0, np.cumsum(counts[numbers])), pa.int32())

    def listed(name: str) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, after.column(name).take(taken))

    arrays = [
        matched.query_ids.take(pa.array(numbers)),
        pa.array(kinds.tolist(), pa.string()),
        listed(schema.DOC_ID),
        listed(schema.SCORE),
    ]
    return pa.table(arrays, schema=layout.lists)
