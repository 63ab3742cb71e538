"""What is counted while two runs are compared: of each part, and summed up over all of them.

Every figure is made in the order of parts, by sums that are rounded once, so that it has the same
bits wherever and however often it is made. Ids are texts here. ``summary`` gives::

    queries     before, after, common
    rows        before, after, common: with a query id and a document id, each pair once
    left_out    before, after: rows without an id, or of a pair that stands further up in its list
    changes     rows and lists: new, changed, gone
    scores      common (rows with a score on both sides), mean_abs_difference, mean_before,
                std_before, drift
    overlap     p, and by depth: mean, min, quantiles, lowest (query_id, overlap)
    movers      rows that stand among the first on either side and moved by most places
    new_queries, gone_queries   the first ones by id

``drift`` is the mean absolute difference of the scores of common rows in units of the standard
deviation of the scores before, as Glass's delta takes that of the control group (Glass, "Primary,
secondary, and meta-analysis of research", Educational Researcher 5(10), 1976); null where nothing
is in common, and where scores differ and those before had no deviation at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.ranking.overlap import PERSISTENCE

#: Depths at which the overlap of lists is measured.
DEPTHS: Final = (1, 5, 10, 20, 50, 100)

#: How many movers, lowest queries, new and gone ones are named.
NAMED: Final = 10

#: Overlaps are counted by their thousandths, from 0 to 1,000, for quantiles.
_STEPS: Final = 1_000
_QUANTILES: Final = (0.01, 0.05, 0.25, 0.5)

Floats = npt.NDArray[np.float64]
Named = list[Any]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Number, mean, and sum of squared deviations; added as Chan, Golub and LeVeque (1979) do."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> Moments:
        """Of values [N]."""
        if not len(values):
            return cls()
        mean = math.fsum(values) / len(values)
        return cls(count=len(values), mean=mean, squares=math.fsum((values - mean) ** 2))

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        apart = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + apart * other.count / count,
            squares=self.squares + other.squares + apart**2 * self.count * other.count / count,
        )

    @property
    def deviation(self) -> float:
        """The standard deviation of all of them; 0 of none."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0


@dataclass(frozen=True, kw_only=True)
class Overlaps:
    """Overlaps of some queries at one depth.

    Attributes:
        total: their sum.
        steps: how many there are in each thousandth that there is one in.
        lowest: ``[overlap, query id]`` of the lowest ones.
    """

    total: float = 0.0
    steps: Mapping[int, int] = field(default_factory=dict)
    lowest: Named = field(default_factory=list)

    @classmethod
    def of(cls, values: Floats, lowest: Named) -> Overlaps:
        """Of values [N]."""
        numbers, counts = np.unique((values * _STEPS).astype(np.int64), return_counts=True)
        steps = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return cls(total=math.fsum(values), steps=steps, lowest=lowest)

    def summary(self) -> dict[str, Any]:
        """Mean, lowest, and quantiles to a thousandth; null of none."""
        count = sum(self.steps.values())
        least = self.lowest[0][0] if self.lowest else 1.0
        quantiles = {str(q): max(least, self._quantile(q * count)) for q in _QUANTILES if count}
        return {
            "mean": self.total / count if count else None,
            "min": least if count else None,
            "quantiles": quantiles,
            "lowest": [{"query_id": query, "overlap": value} for value, query in self.lowest],
        }

    def _quantile(self, rank: float) -> float:
        seen = 0
        for step, count in sorted(self.steps.items()):
            seen += count
            if seen >= rank:
                return step / _STEPS
        raise AssertionError("a quantile is below the number of values")


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What is counted of one part.

    Attributes:
        counts: by names such as ``rows.new``.
        differences: sum of the absolute differences of scores that are there on both sides.
        before: the scores before.
        overlaps: by depth.
        movers: ``[places moved, query id, doc id, rank before, rank]``, the farthest first.
        new_queries: the first ones by id.
        gone_queries: likewise.
    """

    counts: Mapping[str, int]
    differences: float
    before: Moments
    overlaps: Mapping[int, Overlaps]
    movers: Named
    new_queries: list[str]
    gone_queries: list[str]

    def to_json(self) -> dict[str, Any]:
        """For the record of a part."""
        return {
            "counts": dict(self.counts),
            "differences": self.differences,
            "before": vars(self.before),
            "overlaps": {
                str(depth): {
                    "total": one.total,
                    "steps": {str(step): count for step, count in one.steps.items()},
                    "lowest": one.lowest,
                }
                for depth, one in self.overlaps.items()
            },
            "movers": self.movers,
            "new_queries": self.new_queries,
            "gone_queries": self.gone_queries,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Statistics:
        """The inverse of :meth:`to_json`."""
        overlaps = {
            int(depth): Overlaps(
                total=one["total"],
                steps={int(step): count for step, count in one["steps"].items()},
                lowest=one["lowest"],
            )
            for depth, one in found["overlaps"].items()
        }
        return cls(**{**found, "before": Moments(**found["before"]), "overlaps": overlaps})


def summary(parts: Sequence[Statistics]) -> dict[str, Any]:
    """What stands in the manifest: the statistics of all parts, in their order."""
    counts: Counter[str] = Counter()
    before = Moments()
    for part in parts:
        counts.update(part.counts)
        before += part.before

    def group(name: str, kinds: Sequence[str]) -> dict[str, int]:
        return {kind: counts[f"{name}.{kind}"] for kind in kinds}

    sides, changes = ("before", "after", "common"), ("new", "changed", "gone")
    movers = sorted((mover for part in parts for mover in part.movers), key=_far_first)
    return {
        "queries": group("queries", sides),
        "rows": group("rows", sides),
        "left_out": group("left_out", sides[:2]),
        "changes": {name: group(f"changes.{name}", changes) for name in ("rows", "lists")},
        "scores": _scores(math.fsum(part.differences for part in parts), counts["scores"], before),
        "overlap": {
            "p": PERSISTENCE,
            **{
                str(depth): _together([part.overlaps[depth] for part in parts]).summary()
                for depth in DEPTHS
            },
        },
        "movers": [
            {"query_id": query, "doc_id": doc, "previous_rank": previous, "rank": rank}
            for _, query, doc, previous, rank in movers[:NAMED]
        ],
        "new_queries": _first(query for part in parts for query in part.new_queries),
        "gone_queries": _first(query for part in parts for query in part.gone_queries),
    }


def _scores(differences: float, common: int, before: Moments) -> dict[str, Any]:
    mean = differences / common if common else None
    drift = None
    if mean is not None:
        same = 0.0 if mean == 0 else None
        drift = mean / before.deviation if before.deviation else same
    return {
        "common": common,
        "mean_abs_difference": mean,
        "mean_before": before.mean if before.count else None,
        "std_before": before.deviation if before.count else None,
        "drift": drift,
    }


def _together(parts: Sequence[Overlaps]) -> Overlaps:
    steps: Counter[int] = Counter()
    for part in parts:
        steps.update(part.steps)
    lowest = sorted((one for part in parts for one in part.lowest), key=tuple)
    total = math.fsum(part.total for part in parts)
    return Overlaps(total=total, steps=steps, lowest=lowest[:NAMED])


def _first(queries: Iterable[str]) -> list[str]:
    return sorted(queries, key=str.encode)[:NAMED]


def _far_first(mover: Named) -> tuple[int, bytes, bytes]:
    return -mover[0], mover[1].encode(), mover[2].encode()
