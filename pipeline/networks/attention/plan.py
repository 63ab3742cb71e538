"""Who sees whom in a batch of sequences that stand one after the other in one flat tensor.

Made on the host; what a kernel needs of it goes to the device once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s

#: How far a query sees to both sides, itself not counted; -1 is as far as there is.
Window = tuple[int, int]

#: What all sequences see in an encoder.
EVERYTHING: Final[Window] = (-1, -1)

#: [Tq, heads, dim] for the queries of the segments, and the log-sum-exp of their scores float32
#: [Tq, heads] where it was asked for.
Attended = tuple[torch.Tensor, torch.Tensor | None]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Neighbouring segments of equal lengths, on both sides.

    Attributes:
        query: first query.
        key: first key.
        count: segments.
        queries: of each segment.
        keys: of each segment.
    """

    query: int
    key: int
    count: int
    queries: int
    keys: int


class Segments:
    """Consecutive queries and consecutive keys: the n-th segment of one sees that of the other.

    Attributes:
        query_rows: the queries, as a slice of the flat tensor.
        key_rows: the keys.
        longest_query: queries of the longest segment.
        longest_key: its keys.
        typical: queries and keys of a segment on average, rounded down.
    """

    def __init__(self, queries: Int64s, keys: Int64s) -> None:
        """Segments by their offsets, each int64 [n + 1]."""
        self.query_rows = slice(int(queries[0]), int(queries[-1]))
        self.key_rows = slice(int(keys[0]), int(keys[-1]))
        self._edges = queries, keys
        self._lengths = np.diff(queries), np.diff(keys)
        self.longest_query, self.longest_key = (int(n.max()) for n in self._lengths)
        self.typical = int(self._lengths[0].mean()), int(self._lengths[1].mean())
        self._device: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def lengths(self) -> Int64s:
        """int64 [n]: queries of each segment."""
        return self._lengths[0]

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """The segments, host side; kernels that take offsets do not ask for them."""
        (queries, keys), (ours, theirs) = self._edges, self._lengths
        changes = np.flatnonzero((np.diff(ours) != 0) | (np.diff(theirs) != 0)) + 1
        edges = [0, *changes.tolist(), len(ours)]
        return tuple(
            Run(
                query=int(queries[first]),
                key=int(keys[first]),
                count=last - first,
                queries=int(ours[first]),
                keys=int(theirs[first]),
            )
            for first, last in pairwise(edges)
        )

    def offsets(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """int32 [n + 1] of queries and of keys, from 0, on the device; copied once."""
        if self._device is None:
            queries, keys = self._edges
            host = np.concatenate([queries - queries[0], keys - keys[0]]).astype(np.int32)
            both = to_device(host, device)
            self._device = both[: len(queries)], both[len(queries) :]
        return self._device


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a kernel is asked.

    Attributes:
        query: [Tq, heads, dim].
        key: [Tk, key heads, dim]; fewer heads than queries have are shared by groups of them.
        value: like ``key``.
        segments: which queries see which keys.
        window: how far, within a segment.
        scale: of the dot products.
        sums: whether the log-sum-exp of the scores is asked for, too.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    segments: Segments
    window: Window
    scale: float
    sums: bool = False

    @property
    def rows(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values of the segments alone."""
        rows, columns = self.segments.query_rows, self.segments.key_rows
        return self.query[rows], self.key[columns], self.value[columns]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who sees whom in one batch.

    Attributes:
        own: every sequence and itself.
        causal: whether a token sees only those before it and itself.
        shared: sequences and the beginnings that they go on after, seen whole; None without.
        seen: int64 [k], the tokens that anybody sees, which the segments count as keys; None for
            all tokens.
    """

    own: Segments
    causal: bool = False
    shared: Segments | None = None
    seen: torch.Tensor | None = None


def to_device(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """A host array on the device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
