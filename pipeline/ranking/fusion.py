"""One score of two: what the first stage found, and what the reranker says of it.

Reciprocal rank fusion is Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms
Condorcet and individual rank learning methods", SIGIR 2009; the sum of standardised scores is
CombSUM (Fox and Shaw, TREC-2, 1994) over z-scores (Montague and Croft, "Relevance score
normalization for metasearch", CIKM 2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.config.fusion import FusionConfig

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Documents of lists, those of a list together.

    Attributes:
        lists: int64 [N], ascending: the list each document is in.
        scores: float [N], the reranker's; NaN where it gave none.
        ranks: int [N], by the reranker, 1 = best, no two alike in a list.
        first_scores: float64 [N], the first stage's; NaN where it gave none.
        first_ranks: int [N], by the first stage.
    """

    lists: npt.NDArray[np.int64]
    scores: Floats
    ranks: npt.NDArray[np.int64]
    first_scores: Floats
    first_ranks: npt.NDArray[np.int64]


def lists_of(ranked: pa.Table) -> Ranked:
    """The numbers of ranked rows; a list begins at each rank 1."""
    ranks = ranked.column(schema.RANK).to_numpy()
    return Ranked(
        lists=np.cumsum(ranks == 1),
        scores=numbers(ranked, schema.SCORE),
        ranks=ranks.astype(np.int64),
        first_scores=numbers(ranked, schema.FIRST_STAGE_SCORE),
        first_ranks=ranked.column(schema.FIRST_STAGE_RANK).to_numpy().astype(np.int64),
    )


def numbers(ranked: pa.Table, name: str) -> Floats:
    """float64 [N], a column of numbers; NaN where it is null."""
    column = pc.fill_null(ranked.column(name).cast(pa.float64()), np.nan)
    return np.asarray(column.to_numpy(), dtype=np.float64)


def fused_scores(ranked: Ranked, config: FusionConfig) -> Floats:
    """float64 [N], higher is better; NaN where the reranker gave no score.

    ``rrf`` is ``w / (k + rank) + (1 - w) / (k + first_stage_rank)``: with ``w`` 0.5 the paper's
    order. ``weighted`` is ``w z(score) + (1 - w) z(first_stage_score)``, both standardised over the
    documents of the list that have a score of the reranker. Where all of a list's scores are equal
    they say nothing and count 0. A document without a first-stage score counts as the lowest of
    its list: the first stage did not find it.
    """
    known = ~np.isnan(ranked.scores)
    if config.method == "rrf":
        fused = config.weight / (config.k + ranked.ranks)
        fused = fused + (1 - config.weight) / (config.k + ranked.first_ranks)
    else:
        own = _standardised(ranked.scores, ranked.lists, known)
        first = _standardised(ranked.first_scores, ranked.lists, known)
        fused = config.weight * own + (1 - config.weight) * first
    return np.where(known, fused, np.nan)


def fused_ranks(ranked: Ranked, fused: Floats) -> npt.NDArray[np.int32]:
    """int32 [N], 1 = best in its list: by fused score, then by the reranker's rank.

    Documents without a score come last.
    """
    missing = np.isnan(fused)
    order = np.lexsort((ranked.ranks, -np.where(missing, 0.0, fused), missing, ranked.lists))
    sorted_lists = ranked.lists[order]
    ranks = np.empty(len(order), dtype=np.int32)
    ranks[order] = np.arange(len(order)) - np.searchsorted(sorted_lists, sorted_lists) + 1
    return ranks


def _standardised(
    values: Floats, lists: npt.NDArray[np.int64], wanted: npt.NDArray[np.bool_]
) -> Floats:
    """(value - mean) / standard deviation within each list, over what is wanted and there."""
    _, place = np.unique(lists, return_inverse=True)
    used = wanted & np.isfinite(values)
    count = np.maximum(np.bincount(place[used], minlength=place.max(initial=-1) + 1), 1)

    def mean(of: Floats) -> Floats:
        return np.bincount(place[used], weights=of[used], minlength=len(count)) / count

    centred = values - mean(values)[place]
    spread = np.sqrt(mean(centred**2))[place]
    # A spread that is rounding alone would be blown up to a standard deviation of 1.
    flat = spread <= 1e-12 * np.maximum(1.0, np.abs(mean(np.abs(values))[place]))
    found = np.where(flat, 0.0, centred / np.where(flat, 1.0, spread))
    lowest = np.zeros(len(count))
    np.minimum.at(lowest, place[used], found[used])
    return np.where(used, found, lowest[place])
