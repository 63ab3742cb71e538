"""Teachers' scores side by side, on one scale, and as one score.

Every scale here is affine, ``multiplier * score + offset`` with one pair of numbers per teacher,
fitted over the whole set: nothing is normalised per list, so scores of different queries stay
comparable, as far as the teacher made them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigurationError, InputContractError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Method = Literal["mean", "weighted", "rank_fusion"]

#: What a combined score is called where it is no longer a model's own.
FUSED: Final = "reciprocal rank fusion"


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who scored; what a set says of each of its teachers."""

    name: str
    revision: str
    digest: str
    licence: str
    score_scale: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Scale:
    """``multiplier * score + offset``."""

    multiplier: float = 1.0
    offset: float = 0.0

    def apply(self, scores: Floats) -> Floats:
        """float64, the shape of ``scores``; NaN stays NaN."""
        return self.multiplier * scores + self.offset


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Count, mean and spread of many numbers, mergeable part by part.

    Attributes:
        count: how many.
        mean: their mean.
        squares: sum of squared deviations from the mean.
        low: smallest.
        high: largest.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Of the values that are not NaN."""
        values = values[~np.isnan(values)]
        if len(values) == 0:
            return cls()
        mean = float(values.mean())
        return cls(
            count=len(values),
            mean=mean,
            squares=float(np.square(values - mean).sum()),
            low=float(values.min()),
            high=float(values.max()),
        )

    @classmethod
    def merged(cls, parts: Sequence[Moments]) -> Moments:
        """Of all parts together, by the pairwise update of Chan, Golub and LeVeque (1979)."""
        total = cls()
        for part in parts:
            if part.count == 0:
                continue
            if total.count == 0:
                total = part
                continue
            count = total.count + part.count
            step = part.mean - total.mean
            total = cls(
                count=count,
                mean=total.mean + step * part.count / count,
                squares=total.squares
                + part.squares
                + step * step * total.count * part.count / count,
                low=min(total.low, part.low),
                high=max(total.high, part.high),
            )
        return total

    @property
    def deviation(self) -> float:
        """Standard deviation over all (divided by the count)."""
        return float(np.sqrt(self.squares / self.count)) if self.count else 0.0

    def described(self) -> dict[str, Any]:
        """For a report."""
        found = asdict(self)
        del found["squares"]
        return found | {"std": self.deviation}


def standardising(moments: Moments, teacher: str) -> Scale:
    """The scale on which all of a teacher's scores have mean 0 and standard deviation 1.

    Raises:
        InputContractError: all scores are the same, or there is none.
    """
    spread = moments.deviation
    if not spread > 0:
        raise InputContractError(
            f"teacher {teacher}: its {moments.count} scores have no spread, so they cannot be "
            "standardised; remove the teacher, or set combination.scores to raw"
        )
    return Scale(multiplier=1 / spread, offset=-moments.mean / spread)


def refuse_mixed_scales(teachers: Sequence[Teacher], method: Method, scores: str) -> None:
    """Refuse to average logits with cosines.

    Raises:
        ConfigurationError: raw scores of different scales would be averaged.
    """
    scales = sorted({teacher.score_scale for teacher in teachers})
    if method != "rank_fusion" and scores == "raw" and len(scales) > 1:
        named = ", ".join(f"{teacher.name} ({teacher.score_scale})" for teacher in teachers)
        raise ConfigurationError(
            f"combination.scores: raw cannot {'average' if method == 'mean' else 'weigh'} scores "
            f"of different scales: {named}; set it to standardised or calibrated, or "
            "combination.method to rank_fusion"
        )


def looked_up(
    query_ids: pa.Array, doc_ids: pa.Array, found_queries: pa.Array, found_docs: pa.Array
) -> Ints:
    """int64 [N]: for each (query, document) pair its first place among ``found``, -1 for none.

    Args:
        query_ids, doc_ids: string [N]; null ids are found nowhere.
        found_queries, found_docs: string [M].
    """
    count = len(query_ids)
    keys = np.zeros(count + len(found_queries), dtype=np.int64)
    known = np.ones(len(keys), dtype=bool)
    for ours, theirs in ((query_ids, found_queries), (doc_ids, found_docs)):
        codes = pc.dictionary_encode(pa.concat_arrays([ours, theirs]))
        indices = codes.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        keys = keys * (len(codes.dictionary) + 1) + indices
        known &= indices >= 0
    unique, first = np.unique(keys[count:], return_index=True)
    if len(unique) == 0:
        return np.full(count, -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(unique, keys[:count]), len(unique) - 1)
    hit = (unique[places] == keys[:count]) & known[:count]
    return np.where(hit, first[places], -1).astype(np.int64)


def combine(
    scores: Floats,
    offsets: Ints,
    *,
    method: Method,
    scales: Sequence[Scale],
    weights: Sequence[float],
    coverage: Literal["all", "any"],
    rank_constant: float,
) -> npt.NDArray[np.float32]:
    """One score per candidate; NaN where coverage is not met.

    Weights are divided by the sum of those that take part, so a document that one teacher left out
    is on the same scale as the others.

    Args:
        scores: float64 [T, N], raw; NaN where a teacher gave none.
        offsets: int64 [Q + 1], the candidates of each list.
        method: mean and weighted of the scaled scores, or rank_fusion: the sum of ``weight /
            (rank_constant + rank)`` (Cormack, Clarke and Büttcher, SIGIR 2009), equal scores
            sharing the better rank.
        scales: one per teacher.
        weights: one per teacher; all 1 for a mean.
        coverage: whether every teacher must have scored a document, or one.
        rank_constant: k of rank fusion.
    """
    missing = np.isnan(scores)
    if method == "rank_fusion":
        parts = 1 / (rank_constant + np.stack([_ranks(row, offsets) for row in scores]))
    else:
        parts = np.stack([s.apply(row) for s, row in zip(scales, scores, strict=True)])
    share = np.where(missing, 0.0, np.asarray(weights, dtype=np.float64)[:, None])
    total = (share * np.where(missing, 0.0, parts)).sum(axis=0)
    if method != "rank_fusion":
        total = total / np.where(missing.all(axis=0), 1.0, share.sum(axis=0))
    enough = ~missing.any(axis=0) if coverage == "all" else ~missing.all(axis=0)
    with np.errstate(over="ignore"):
        return np.where(enough, total, np.nan).astype(np.float32)


def _ranks(scores: Floats, offsets: Ints) -> Floats:
    """float64 [N]: 1 + how many of the same list score higher; NaN where there is no score."""
    lists = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-np.nan_to_num(scores, nan=-np.inf), lists))
    sorted_scores, sorted_lists = scores[order], lists[order]
    place = np.arange(len(order)) - offsets[sorted_lists]
    same = np.append(False, (np.diff(sorted_scores) == 0) & (np.diff(sorted_lists) == 0))
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    ranks = np.empty(len(order))
    ranks[order] = place[first] + 1 if len(order) else place
    return np.where(np.isnan(scores), np.nan, ranks)
