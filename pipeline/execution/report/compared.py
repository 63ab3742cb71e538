"""A run beside another one of the same queries: what is new at the top, and what moved most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.execution.report.units import rows_of, sampled, units_of
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.ranking.agreement import places
from pipeline.ranking.overlap import rank_biased_overlap
from pipeline.ranking.runs import named_once

Int64s = npt.NDArray[np.int64]

_COLUMNS: Final = (schema.QUERY_ID, schema.DOC_ID, schema.RANK, schema.SCORE, schema.REASON)
#: What is compared: ids as text, for two runs may have read them as different types.
_KEPT: Final = pa.schema(
    [
        (schema.QUERY_ID, pa.large_string()),
        (schema.DOC_ID, pa.large_string()),
        (schema.RANK, pa.int64()),
        (schema.SCORE, pa.float64()),
    ]
)

_TOP: Final = 10
_DEPTH: Final = 100
_MOVERS: Final = 20


def comparison_of(
    folder: RunFolder, units: Sequence[UnitCounts], other: RunFolder
) -> dict[str, Any]:
    """How the lists of a run differ from those of an earlier one.

    Of a large run the lists of :func:`~pipeline.execution.report.units.sampled` units are compared;
    of the other run all units are read, and the rows of these lists kept.

    Returns:
        ``other``: who it is. ``lists``: in both; ``only_here``: of those looked at, not in the
        other. ``sampled``: whether not all were looked at. ``documents``: by whether they stand in
        the lists of both, of this run only (``new``), of the other only (``gone``). ``first_kept``:
        share of lists with the same first document. ``new_in_ten``: documents among the first ten
        that the other has not there, on average. ``overlap``: shares of the first ten in common,
        by tenths, as numbers of lists. ``rbo``: mean rank-biased overlap. ``movers``: documents of
        either first ten that moved by most places.

    Raises:
        InputContractError: the two have no list in common.
        DamagedRunError: a file of either is gone or not as it was written.
    """
    chosen = sampled(units)
    here = _rows(folder, chosen, None)
    wanted = pc.unique(here.column(schema.QUERY_ID)).to_pylist()
    others = units_of(other)
    there = _rows(other, others, wanted)
    both = set(wanted) & set(pc.unique(there.column(schema.QUERY_ID)).to_pylist())
    if not both:
        raise InputContractError(
            f"--compare {other.path}: none of the lists of {folder.path} that were looked at "
            f"({len(wanted):,}) is in it; compare runs of the same queries"
        )
    described = other.describe()
    joined = _joined(_only(here, both), _only(there, both))
    return {
        "other": {
            "folder": other.path,
            "run_id": described["run_id"],
            "model": described["model"]["name"],
            "revision": described["model"]["revision"],
        },
        "sampled": len(chosen) < len([unit for unit in units if unit.documents]),
        "lists": len(both),
        "only_here": len(wanted) - len(both),
        **_statistics(joined, len(both)),
        "movers": _movers(joined),
    }


def _rows(
    folder: RunFolder, units: Sequence[UnitCounts], queries: Sequence[str] | None
) -> pa.Table:
    """Rows of some lists, ids as text, each document once."""
    found = [
        named_once(table).select(_KEPT.names).cast(_KEPT)
        for table in rows_of(folder, units, queries, _COLUMNS)
    ]
    return pa.concat_tables(found) if found else _KEPT.empty_table()


def _only(table: pa.Table, queries: set[str]) -> pa.Table:
    wanted = pa.array(sorted(queries), pa.large_string())
    return table.filter(pc.is_in(table.column(schema.QUERY_ID), value_set=wanted))


def _joined(here: pa.Table, there: pa.Table) -> pa.Table:
    """One row for each document of a list of either: ``rank`` and ``score`` of both, or null."""
    keys = [schema.QUERY_ID, schema.DOC_ID]
    joined = here.join(there, keys, join_type="full outer", right_suffix="_before")
    return joined.sort_by([(name, "ascending") for name in keys]).combine_chunks()


def _statistics(joined: pa.Table, count: int) -> dict[str, Any]:
    lists = _numbers(joined.column(schema.QUERY_ID))
    # Rows without a document's id are in neither order, so ranks have gaps where they stood.
    after, before = (
        _places(_ranks(joined, name), lists) for name in (schema.RANK, f"{schema.RANK}_before")
    )
    in_both = (after > 0) & (before > 0)
    top_after, top_before = ((ranks > 0) & (ranks <= _TOP) for ranks in (after, before))
    shared = np.bincount(lists[top_after & top_before], minlength=count)
    larger = np.maximum(
        np.bincount(lists[top_after], minlength=count),
        np.bincount(lists[top_before], minlength=count),
    )
    overlap = shared / np.maximum(larger, 1)
    firsts = np.bincount(lists[(after == 1) & (before == 1)], minlength=count)
    lengths = tuple(np.bincount(lists[ranks > 0], minlength=count) for ranks in (after, before))
    rbo = rank_biased_overlap(
        (lengths[0], lengths[1]),
        lists[in_both],
        (after[in_both], before[in_both]),
        depths=(_DEPTH,),
    )
    return {
        "documents": {
            "both": int(in_both.sum()),
            "new": int((before == 0).sum()),
            "gone": int((after == 0).sum()),
        },
        "first_kept": float(firsts.mean()),
        "new_in_ten": float(np.bincount(lists[top_after & ~top_before], minlength=count).mean()),
        "overlap": np.bincount((overlap * 10).round().astype(int), minlength=11).tolist(),
        "rbo": float(rbo.mean()),
    }


def _movers(joined: pa.Table) -> list[dict[str, Any]]:
    """Documents of both lists that stand in the first ten of either and moved most, then by ids."""
    after, before = _ranks(joined, schema.RANK), _ranks(joined, f"{schema.RANK}_before")
    top = (after > 0) & (before > 0) & (np.minimum(after, before) <= _TOP) & (after != before)
    places = np.flatnonzero(top)
    moved = np.abs(after[places] - before[places])
    chosen = places[np.argsort(-moved, kind="stable")[:_MOVERS]]
    return [
        {
            "query_id": row[schema.QUERY_ID],
            "doc_id": row[schema.DOC_ID],
            "before": row[f"{schema.RANK}_before"],
            "after": row[schema.RANK],
            "score_before": row[f"{schema.SCORE}_before"],
            "score_after": row[schema.SCORE],
        }
        for row in joined.take(pa.array(chosen)).to_pylist()
    ]


def _ranks(joined: pa.Table, column: str) -> Int64s:
    """int64 [N], 0 where there is none."""
    return np.asarray(pc.fill_null(joined.column(column), 0).to_numpy(), dtype=np.int64)


def _places(ranks: Int64s, lists: Int64s) -> Int64s:
    """int64 [N]: places among the documents that a run has of a list; 0 where it has none."""
    there = ranks > 0
    found = np.zeros(len(ranks), dtype=np.int64)
    found[there] = places(ranks[there], lists[there])
    return found


def _numbers(ids: pa.ChunkedArray) -> Int64s:
    """int64 [N], ascending: ids that are in order as numbers."""
    values = ids.combine_chunks().dictionary_encode().indices
    return np.asarray(values.to_numpy(), dtype=np.int64)
