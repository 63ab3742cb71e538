"""64-bit hashes of ids and texts, and sets of them that grow.

Two of n different strings share a hash with probability n^2 / 2^65: 3e-6 for ten million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]


def stable_hashes(values: Iterable[str], *, salt: str = "") -> Hashes:
    """uint64 [N]: BLAKE2b of each string, the same in every process and on every machine."""
    key = salt.encode()
    digests = [
        hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
        for value in values
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


class HashSet:
    """A growing set of hashes, 8 bytes each: ten million fit in 80 MB.

    Sorted arrays hold it, each at most half as long as the one before, so that adding n hashes
    batch by batch moves each of them O(log n) times; the larger the batches, the less it costs to
    look for one hash of them. Two are merged in the memory of the longer one, so that a large set
    needs no second place while it grows.
    """

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Add hashes [N].

        Returns:
            bool [N]: whether each is new: neither in the set before, nor earlier in ``hashes``.
        """
        distinct, first = np.unique(hashes, return_index=True)
        for run in self._runs:
            unknown = run.take(run.searchsorted(distinct), mode="clip") != distinct
            distinct, first = distinct[unknown], first[unknown]
        new = np.zeros(len(hashes), dtype=bool)
        new[first] = True
        if len(distinct):
            while self._runs and len(self._runs[-1]) < 2 * len(distinct):
                distinct = _merged(self._runs.pop(), distinct)
            self._runs.append(distinct)
        return new


def _merged(own: Hashes, other: Hashes) -> Hashes:
    """Two sorted arrays as one, in the memory of the first, which is used up."""
    size = len(own)
    own.resize(size + len(other), refcheck=False)  # nobody else knows it
    own[size:] = other
    own.sort(kind="stable")  # of two sorted runs this is one merge
    return own
