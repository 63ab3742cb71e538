"""The statistics of one bucket of two runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.ranking.overlap import rank_biased_overlap
from pipeline.refresh.changes.layout import KINDS
from pipeline.refresh.changes.matching import Ints, Matched
from pipeline.refresh.changes.statistics import DEPTHS, NAMED, Moments, Overlaps, Statistics

#: Rows that stand among so many first ones, on either side, count as movers.
_TOP: Final = 10


def counted(matched: Matched, rows: pa.Table, lists: pa.Table) -> Statistics:
    """Count.

    Args:
        matched: all rows of some queries, before and after.
        rows: those of them that are new, changed or gone.
        lists: likewise.
    """
    before, after = matched.before, matched.after
    distinct = len(matched.query_ids)
    lengths = [np.bincount(side.queries, minlength=distinct) for side in (before, after)]
    were, are = (counts > 0 for counts in lengths)
    now = np.flatnonzero(matched.of_after >= 0)
    then = matched.of_after[now]
    scores, previous = _scores(after.column(schema.SCORE)), _scores(before.column(schema.SCORE))
    apart = np.abs(scores[now] - previous[then])
    apart = apart[~np.isnan(apart)]
    return Statistics(
        counts={
            "queries.before": int(were.sum()),
            "queries.after": int(are.sum()),
            "queries.common": int((were & are).sum()),
            "rows.before": len(before.queries),
            "rows.after": len(after.queries),
            "rows.common": len(now),
            "left_out.before": before.left_out,
            "left_out.after": after.left_out,
            "scores": len(apart),
            **_kinds("changes.rows", rows),
            **_kinds("changes.lists", lists),
        },
        differences=math.fsum(apart),
        before=Moments.of(previous[~np.isnan(previous)]),
        overlaps=_overlaps(matched, (lengths[0], lengths[1]), now, then),
        movers=_movers(matched, now, then),
        new_queries=_named(matched, are & ~were),
        gone_queries=_named(matched, were & ~are),
    )


def _scores(column: pa.Array) -> npt.NDArray[np.float64]:
    """float64 [N], NaN where there is none."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))


def _kinds(name: str, table: pa.Table) -> dict[str, int]:
    kinds = table.column(schema.CHANGE)
    return {f"{name}.{kind}": pc.sum(pc.equal(kinds, kind)).as_py() or 0 for kind in KINDS}


def _overlaps(
    matched: Matched, lengths: tuple[Ints, Ints], now: Ints, then: Ints
) -> dict[int, Overlaps]:
    common = np.flatnonzero((lengths[0] > 0) & (lengths[1] > 0))
    numbers = np.full(len(matched.query_ids), -1)
    numbers[common] = np.arange(len(common))
    found = rank_biased_overlap(
        (lengths[0][common], lengths[1][common]),
        numbers[matched.after.queries[now]],
        (matched.before.places[then], matched.after.places[now]),
        depths=DEPTHS,
    )
    ids = matched.query_ids.take(pa.array(common)).cast(pa.string())
    return {
        depth: Overlaps.of(values, _lowest(values, ids))
        for depth, values in zip(DEPTHS, found.T, strict=True)
    }


def _lowest(values: npt.NDArray[np.float64], ids: pa.Array) -> list[Any]:
    """``[overlap, query id]`` of those that are not 1."""
    below = pa.table({"overlap": values, "query": ids}).filter(pa.array(values < 1))
    lowest = _least(below, [("overlap", "ascending"), ("query", "ascending")])
    return [[row["overlap"], row["query"]] for row in lowest]


def _movers(matched: Matched, now: Ints, then: Ints) -> list[Any]:
    places, were = matched.after.places[now], matched.before.places[then]
    far = np.flatnonzero((np.minimum(places, were) <= _TOP) & (places != were))
    moved = pa.table({"moved": np.abs(places - were)[far], "row": now[far], "was": then[far]})
    if len(far) > NAMED:  # ids are looked at of those only that may be among the first
        least = np.partition(moved.column("moved").to_numpy(), -NAMED)[-NAMED]
        moved = moved.filter(pc.greater_equal(moved.column("moved"), least))

    def of(side: Any, name: str, rows: str) -> pa.Array:
        return side.column(name).take(moved.column(rows).combine_chunks())

    told = {
        "query": of(matched.after, schema.QUERY_ID, "row").cast(pa.string()),
        "doc": of(matched.after, schema.DOC_ID, "row").cast(pa.string()),
        "previous": of(matched.before, schema.RANK, "was"),
        "rank": of(matched.after, schema.RANK, "row"),
    }
    table = pa.table({"moved": moved.column("moved"), **told})
    far_first = [("moved", "descending"), ("query", "ascending"), ("doc", "ascending")]
    return [list(row.values()) for row in _least(table, far_first)]


def _named(matched: Matched, which: npt.NDArray[np.bool_]) -> list[str]:
    ids = matched.query_ids.filter(pa.array(which)).cast(pa.string())
    return [row["query"] for row in _least(pa.table({"query": ids}), [("query", "ascending")])]


def _least(table: pa.Table, keys: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """The first rows by some keys, no two of which are equal."""
    taken = pc.select_k_unstable(table, k=min(NAMED, table.num_rows), sort_keys=list(keys))
    rows: list[dict[str, Any]] = table.take(taken).to_pylist()
    return rows
