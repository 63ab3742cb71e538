"""All pairs of sets whose Jaccard similarity reaches a threshold: exact, no sampling, no misses.

Prefix filtering with positional bounds (Bayardo et al., "Scaling up all pairs similarity search",
2007; Xiao et al., "Efficient similarity joins for near duplicate detection", PPJoin, 2008): two
sets that are similar enough share one of the rarest elements of each, so only sets that meet there
are compared, and of those only the ones that 256-bit sketches do not rule out (Sandes, Teodoro and
Melo, "Bitmap filter: speeding up exact set similarity joins with bitwise operations", 2020).
MinHash would miss some pairs, and a split that promises to keep near duplicates together must not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules.texts import mixed

Ints = npt.NDArray[np.int64]

#: Candidate pairs, or elements, looked at together; bounds the memory of a step.
_CHUNK: Final = 200_000

#: Keeps 0.8 * 5 at 4 although floating point makes it 4.000000000000001.
_EPSILON: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Sets:
    """``N`` sets of integers side by side.

    Attributes:
        offsets: int64 [N + 1].
        elements: uint32, each once within its set, in any order.
    """

    offsets: Ints
    elements: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets) - 1


def similar_pairs(
    sets: Sets, threshold: float
) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.float64]]]:
    """Every pair of non-empty sets with a Jaccard similarity of at least ``threshold``.

    A pair comes at least once; it may come again in a later chunk.

    Memory is about 20 bytes per element on top of the sets. Time grows with the number of sets
    that share rare elements, for short queries a little less than with their square.

    Args:
        sets: the sets.
        threshold: above 0, at most 1.

    Yields:
        left, right: int64 [P], places with left < right.
        similarity: float64 [P].
    """
    ranked = _by_rarity(sets)
    sizes = np.diff(ranked.offsets)
    tokens, owners, positions = _prefixes(ranked, sizes, threshold)
    sketches = _sketches(ranked)
    for meeting in _meeting(tokens, owners, positions, sizes, threshold):
        left, right = _possible(sketches, sizes, *meeting, threshold)
        common = _common(ranked, left, right)
        similarity = common / (sizes[left] + sizes[right] - common)
        kept = similarity >= threshold - _EPSILON
        if kept.any():
            first, second = np.minimum(left, right)[kept], np.maximum(left, right)[kept]
            yield first, second, similarity[kept]


def clusters(count: int, pairs: Iterator[tuple[Ints, Ints]]) -> Ints:
    """int64 [count]: for each place the smallest place that it is connected to (union-find)."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for left, right in pairs:
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    return np.array([root(place) for place in range(count)], dtype=np.int64)


def _by_rarity(sets: Sets) -> Sets:
    """The same sets with elements renamed 0, 1, … from rare to common, ascending in each set."""
    names, counts = np.unique(sets.elements, return_counts=True)
    rank = np.empty(len(names), dtype=np.uint32)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(names), dtype=np.uint32)
    # In place, for there are many: the set in the upper half of a key, the element in the lower.
    keys = np.repeat(np.arange(len(sets), dtype=np.uint64), np.diff(sets.offsets))
    keys <<= np.uint64(32)
    keys |= rank[np.searchsorted(names, sets.elements)]
    keys.sort()
    return Sets(offsets=sets.offsets, elements=keys.astype(np.uint32))


def _prefixes(sets: Sets, sizes: Ints, threshold: float) -> tuple[Ints, Ints, Ints]:
    """The rarest elements of each set, sorted by element, then by size of their set.

    A partner of a set of n elements shares at least ceil(t n) of them, so one of its n - ceil(t n)
    + 1 rarest.

    Returns:
        tokens, owners, positions: int64 [E] each: element, its set, its place in the set.
    """
    length = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - _EPSILON) + 1, 0)
    length = np.minimum(length, sizes).astype(np.int64)
    owners = np.repeat(np.arange(len(sizes)), length)
    starts = np.repeat(np.cumsum(length) - length, length)
    positions = np.arange(len(owners)) - starts
    tokens = sets.elements[sets.offsets[owners] + positions].astype(np.int64)
    order = np.lexsort((owners, sizes[owners], tokens))
    return tokens[order], owners[order], positions[order]


def _meeting(
    tokens: Ints, owners: Ints, positions: Ints, sizes: Ints, threshold: float
) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of sets that share an element of both prefixes and can still reach the threshold.

    Entry ``i`` meets the entries after it with the same token whose sets are not too large: sizes
    must lie within the factor ``threshold``. Where the shared element is the first that they
    share, the overlap is at most what is left of both sets from there on; every pair that is
    similar enough meets at its first shared element too, so nothing is missed.
    """
    reach = _reach(tokens, sizes[owners], threshold)
    for first, last in _spans(reach, _CHUNK):
        count = reach[first:last]
        left = np.repeat(np.arange(first, last), count)
        starts = np.repeat(np.cumsum(count) - count, count)
        right = left + 1 + (np.arange(len(left)) - starts)
        rest = np.minimum(
            sizes[owners[left]] - positions[left], sizes[owners[right]] - positions[right]
        )
        possible = rest >= _needed(sizes, owners[left], owners[right], threshold)
        pairs = np.stack([owners[left[possible]], owners[right[possible]]])
        pairs.sort(axis=0)
        keys = np.unique(pairs[0] * len(sizes) + pairs[1])
        if len(keys):
            yield keys // len(sizes), keys % len(sizes)


def _needed(sizes: Ints, left: Ints, right: Ints, threshold: float) -> npt.NDArray[np.float64]:
    """float64 [P]: elements that each pair must share to reach the threshold."""
    total = sizes[left] + sizes[right]
    return np.asarray(np.ceil(threshold / (1 + threshold) * total - _EPSILON), dtype=np.float64)


def _sketches(sets: Sets) -> npt.NDArray[np.uint64]:
    """uint64 [N, 4]: for each set 256 bits, one set for every element."""
    bits = mixed(np.arange(int(sets.elements.max(initial=0)) + 1, dtype=np.uint64))
    found = np.zeros((len(sets), 4), dtype=np.uint64)
    sizes = np.diff(sets.offsets)
    for first, last in _spans(sizes, _CHUNK):
        owners = np.repeat(np.arange(first, last), sizes[first:last])
        drawn = bits[sets.elements[sets.offsets[first] : sets.offsets[last]]]
        word = ((drawn >> np.uint64(6)) & np.uint64(3)).astype(np.int64)
        np.bitwise_or.at(found, (owners, word), np.uint64(1) << (drawn & np.uint64(63)))
    return found


def _possible(
    sketches: npt.NDArray[np.uint64], sizes: Ints, left: Ints, right: Ints, threshold: float
) -> tuple[Ints, Ints]:
    """The pairs that may reach the threshold: every bit in which two sketches differ is an element
    that only one of the sets has."""
    apart = np.bitwise_count(sketches[left] ^ sketches[right]).sum(axis=1, dtype=np.int64)
    most = (sizes[left] + sizes[right] - apart) // 2
    kept = most >= _needed(sizes, left, right, threshold)
    return left[kept], right[kept]


def _reach(tokens: Ints, sizes: Ints, threshold: float) -> Ints:
    """int64 [E]: how many entries after each one have its token and a size that is near enough."""
    most = np.floor(sizes / threshold + _EPSILON).astype(np.int64)
    span = int(sizes.max(initial=0)) + 1
    keys = tokens * span + sizes
    limits = tokens * span + np.minimum(most, span - 1)
    return np.searchsorted(keys, limits, side="right") - np.arange(len(keys)) - 1


def _spans(counts: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of places whose counts sum to about ``most``; a single one may exceed it."""
    total = np.cumsum(counts)
    first = 0
    while first < len(counts):
        done = total[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(total, done + most, side="right")))
        yield first, last
        first = last


def _common(sets: Sets, left: Ints, right: Ints) -> Ints:
    """int64 [P]: size of the intersection of each pair."""
    pair_of, elements = _flat(sets, left)
    other_of, others = _flat(sets, right)
    ours = (pair_of.astype(np.uint64) << np.uint64(32)) | elements
    theirs = (other_of.astype(np.uint64) << np.uint64(32)) | others
    places = np.searchsorted(theirs, ours)
    found = theirs[np.minimum(places, len(theirs) - 1)] == ours
    return np.bincount(pair_of[found], minlength=len(left))


def _flat(sets: Sets, places: Ints) -> tuple[Ints, npt.NDArray[np.uint32]]:
    """The elements of the sets at ``places`` one after the other, each with its pair's number."""
    lengths = sets.offsets[places + 1] - sets.offsets[places]
    pair_of = np.repeat(np.arange(len(places)), lengths)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    inside = np.arange(len(pair_of)) - starts
    return pair_of, sets.elements[sets.offsets[places][pair_of] + inside]
