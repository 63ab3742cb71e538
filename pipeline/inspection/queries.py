"""How many queries an input has, in which order, and how many candidates each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.candidates.id_runs import Runs
from pipeline.candidates.inputs import Input
from pipeline.candidates.order import Order, runs_in_order
from pipeline.hashes import stable_hashes
from pipeline.inspection.distribution import distribution
from pipeline.inspection.sample import Sample

Ints = npt.NDArray[np.int64]

#: Rows up to which the ids of an input that is not grouped are counted: 16 bytes are kept of each.
_MOST_SCATTERED: Final = 20_000_000

#: A query with so many candidates holds a worker for itself.
_GIANT: Final = 10_000

#: And one with so many times the median, where that is more than a page of results.
_GIANT_RATIO: Final = 50
_SMALLEST_GIANT: Final = 1_000

_MOST_GIANTS: Final = 5


def query_facts(source: Input, order: Order, sample: Sample) -> dict[str, Any]:
    """Queries and candidates per query, exact where the column of ids can be read alone.

    Returns:
        ``queries`` and ``candidates``, each with ``count`` and ``source``, where it is from:
        ``footers``, ``query ids``, ``every row`` or ``sample``; ``candidates_per_query`` with its
        ``source`` and what :func:`distribution` gives; ``giants``, a list of query_id and
        candidates.
    """
    total = source.documents
    nested = source.columns.layout == "nested"
    if nested or not _readable(source, order):
        return _of_sample(source, order, sample, total, nested=nested)
    found = counted_facts(
        runs_in_order(source), source.rows, merged=order.kind == "scattered", source="query ids"
    )
    return found | {"candidates": {"count": total, "source": "footers"}}


def counted_facts(runs: Iterable[Runs], rows: int, *, merged: bool, source: str) -> dict[str, Any]:
    """What :func:`query_facts` gives, by the runs of all query ids.

    Args:
        runs: in order.
        rows: of all of them.
        merged: whether queries may come again.
        source: what the figures are said to be from.
    """
    ids, lengths = _counted(runs, rows, merged=merged)
    named = [place for place, value in enumerate(ids) if value is not None]
    counts = lengths[named]
    facts = distribution(counts)
    return {
        "queries": {"count": len(named), "source": source},
        "candidates": {"count": rows, "source": source},
        "candidates_per_query": None if facts is None else {"source": source} | facts,
        "giants": _giants([ids[place] for place in named], counts),
    }


def order_facts(order: Order) -> dict[str, Any]:
    """The order as plain data."""
    example = None
    if order.example is not None:
        found = order.example
        example = {
            "query_id": found.query_id,
            "first": asdict(found.first),
            "second": asdict(found.second),
        }
    return {"kind": order.kind, "checked": order.checked, "example": example}


def _readable(source: Input, order: Order) -> bool:
    return order.checked != "sample" and (
        order.kind != "scattered" or source.rows <= _MOST_SCATTERED
    )


def _counted(found: Iterable[Runs], rows: int, *, merged: bool) -> tuple[list[Any], Ints]:
    """Ids [Q] and rows [Q] of each query; those that come again are added up if ``merged``."""
    ids: list[Any] = []
    starts: list[int] = []
    for runs in found:
        values = runs.ids.to_pylist()
        first = 1 if ids and values and values[0] == ids[-1] else 0
        ids += values[first:]
        starts += runs.starts[first:].tolist()
    lengths: Ints = np.diff(np.array([*starts, rows], dtype=np.int64)).astype(np.int64)
    if not merged:
        return ids, lengths
    hashes = stable_hashes("" if value is None else f"{value}." for value in ids)
    _, places, groups = np.unique(hashes, return_index=True, return_inverse=True)
    sums = np.bincount(groups, weights=lengths).astype(np.int64)
    return [ids[place] for place in places.tolist()], sums


def _giants(ids: list[Any], counts: Ints) -> list[dict[str, Any]]:
    if len(counts) == 0:
        return []
    limit = min(_GIANT, max(_SMALLEST_GIANT, _GIANT_RATIO * float(np.median(counts))))
    largest = np.argsort(-counts, kind="stable")[:_MOST_GIANTS].tolist()
    return [
        {"query_id": ids[place], "candidates": int(counts[place])}
        for place in largest
        if counts[place] >= limit
    ]


def _of_sample(
    source: Input, order: Order, sample: Sample, total: int, *, nested: bool
) -> dict[str, Any]:
    ids: list[Any] = []
    counts: list[Ints] = [np.zeros(0, dtype=np.int64)]
    for lists in sample.lists:
        ids += lists.queries.column("query_id").to_pylist()
        counts.append(np.diff(lists.offsets))
    lengths = np.concatenate(counts)
    where = "every row" if sample.whole else "sample"
    facts = None if sample.partial else distribution(lengths)
    queries: dict[str, Any]
    if nested:
        queries = {"count": source.rows, "source": "footers"}
    elif order.queries is not None:
        queries = {"count": order.queries, "source": "query ids"}
    elif len(lengths) and not sample.partial:
        queries = {"count": round(total / float(lengths.mean())), "source": "sample"}
    else:
        queries = {"count": None, "source": "unknown"}
    candidates = {"count": total, "source": "footers"}
    if sample.whole:
        candidates = {"count": int(lengths.sum()), "source": where}
    return {
        "queries": queries,
        "candidates": candidates,
        "candidates_per_query": None if facts is None else {"source": where} | facts,
        "giants": [] if sample.partial else _giants(ids, lengths),
    }
