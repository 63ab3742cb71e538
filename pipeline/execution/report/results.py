"""What a run's scores and ranks look like: distributions of a sample, as plain data."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.execution.report.units import Sample
from pipeline.ranking.agreement import order_agreement

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_SCORE_BINS: Final = 40
_TOP: Final = 10

#: First-stage ranks from which the first ten documents come: the last of each band.
_BANDS: Final = (1, 3, 10, 30, 100, 300)

#: Lists whose orders are compared; each costs a square of its length.
_MOST_COMPARED: Final = 500


def results_of(sample: Sample) -> dict[str, Any]:
    """Distributions of scores, ranks and ties.

    Returns:
        ``sample``: how much they are of. ``scores``: see :func:`_scores`. ``ranks``: see
        :func:`_ranks`. ``ties``: see :func:`_ties`.
    """
    scores = sample.table.column(schema.SCORE).to_numpy().astype(np.float32)
    ranks = sample.table.column(schema.RANK).to_numpy().astype(np.int64)
    before = sample.table.column(schema.FIRST_STAGE_RANK).to_numpy().astype(np.int64)
    return {
        "sample": {
            "units": len(sample.chosen),
            "of_units": sample.of_units,
            "documents": sample.table.num_rows,
            "of_documents": sample.of_documents,
            "lists": int(sample.lists[-1]) + 1 if len(sample.lists) else 0,
            "unreadable": sample.unreadable,
        },
        "scores": _scores(scores, ranks),
        "ranks": _ranks(ranks, before, sample.lists),
        "ties": _ties(scores, ranks, sample.lists),
    }


def _scores(scores: Floats, ranks: Int64s) -> dict[str, Any] | None:
    """Histograms of all scores and of those ranked first, over the same edges; None without any.

    Returns:
        ``edges`` [bins + 1], ``all`` and ``first`` [bins] counts; ``quantiles`` by share.
    """
    finite = np.isfinite(scores)
    known = scores[finite].astype(np.float64)
    if not len(known):
        return None
    edges = np.histogram_bin_edges(known, bins=_SCORE_BINS)
    shares = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    return {
        "edges": edges.tolist(),
        "all": np.histogram(known, bins=edges)[0].tolist(),
        "first": np.histogram(scores[finite & (ranks == 1)], bins=edges)[0].tolist(),
        "quantiles": {
            f"{share:g}": float(value)
            for share, value in zip(shares, np.quantile(known, shares), strict=True)
        },
    }


def _ranks(ranks: Int64s, before: Int64s, lists: Int64s) -> dict[str, Any] | None:
    """How far the new order is from the first stage's; None of nothing.

    Returns:
        ``bands`` and ``came_from``: labels of bands of first-stage ranks, and how many of the
        first ten documents came from each. ``moved``: quantiles of places moved, up or down.
        ``first_kept``: share of lists whose first document is the first stage's. ``rbo``,
        ``overlap``, ``tau`` and ``compared``: see
        :class:`~pipeline.ranking.agreement.OrderAgreement`.
    """
    if not len(ranks):
        return None
    top = ranks <= _TOP
    bands = np.searchsorted(_BANDS, before[top])
    first = ranks == 1
    moved = np.abs(before - ranks)
    chosen = lists < _MOST_COMPARED
    agreement = order_agreement(
        before[chosen].astype(np.int32), ranks[chosen].astype(np.int32), lists[chosen]
    )
    starts = (1, *(band + 1 for band in _BANDS))
    labels = [
        f"{low}" if low == high else f"{low}–{high}"
        for low, high in zip(starts[:-1], _BANDS, strict=True)
    ]
    return {
        "bands": [*labels, f"over {_BANDS[-1]}"],
        "came_from": np.bincount(bands, minlength=len(_BANDS) + 1).tolist(),
        "moved": {f"{share:g}": float(np.quantile(moved, share)) for share in (0.5, 0.9, 0.99)},
        "first_kept": float((before[first] == 1).mean()) if first.any() else None,
        "compared": agreement.lists,
        "rbo": agreement.rbo,
        "overlap": agreement.overlap,
        "tau": agreement.tau,
    }


def _ties(scores: Floats, ranks: Int64s, lists: Int64s) -> dict[str, Any]:
    """Equal scores within a list, which the first stage's order decides.

    Returns:
        ``documents``: those whose score another of their list has as well; ``lists_in_first_ten``:
        lists with such a pair within the first ten; ``constant_lists``: lists of two or more whose
        documents all have one score; ``lists``: lists with two scores or more.
    """
    known = np.isfinite(scores)
    order = np.lexsort((ranks[known], lists[known]))
    by_rank, of_list = scores[known][order], lists[known][order]
    places = ranks[known][order]
    same = (by_rank[1:] == by_rank[:-1]) & (of_list[1:] == of_list[:-1])
    tied = np.zeros(len(by_rank), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    within = same & (places[1:] <= _TOP)
    _, sizes = np.unique(of_list, return_counts=True)
    _, runs = np.unique(of_list[1:][same], return_counts=True) if same.any() else (0, np.zeros(0))
    several = sizes > 1
    pairs = np.zeros(len(sizes), dtype=np.int64)
    pairs[np.searchsorted(np.unique(of_list), np.unique(of_list[1:][same]))] = runs
    return {
        "documents": int(tied.sum()),
        "lists_in_first_ten": len(np.unique(of_list[1:][within])),
        "constant_lists": int((several & (pairs == sizes - 1)).sum()),
        "lists": int(several.sum()),
    }
