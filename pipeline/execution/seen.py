"""Noticing a query that two units hold, which means that the input was not sorted."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

_MERGE_AT = 65_536


def hashes_of(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """uint64 [Q]: a 64-bit hash of each of [Q] query ids, none of them null."""
    values = ids.cast(pa.string()).to_pylist()
    digests = [hashlib.blake2b(value.encode(), digest_size=8).digest() for value in values]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


class SeenQueries:
    """A set of 64-bit query hashes: 8 bytes per query, so ten million fit in 80 MB.

    Two different ids share a hash with probability n^2 / 2^65: 3e-6 for ten million queries.
    """

    def __init__(self) -> None:
        self._merged: Hashes = np.zeros(0, dtype=np.uint64)
        self._recent: set[int] = set()

    def add(self, hashes: Hashes) -> int | None:
        """Add a unit's queries.

        Returns:
            The place in ``hashes`` of a query that was there before, else None.
        """
        places = np.searchsorted(self._merged, hashes)
        inside = places < len(self._merged)
        known = np.zeros(len(hashes), dtype=bool)
        known[inside] = self._merged[places[inside]] == hashes[inside]
        for place, value in enumerate(hashes.tolist()):
            if known[place] or value in self._recent:
                return place
            self._recent.add(value)
        if len(self._recent) >= _MERGE_AT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._merged = np.sort(np.concatenate([self._merged, recent]))
            self._recent.clear()
        return None
