"""How often a document may be a negative: one assignment, whatever order work is done in.

Cutting "the first k uses" would depend on which worker came first. Instead queries ask for their
negatives in order of preference, and a document keeps the ``cap`` queries that a draw from the seed
favours; who is turned away asks for the next. That is deferred acceptance (Gale and Shapley,
"College admissions and the stability of marriage", 1962), whose outcome does not depend on the
order of asking.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules.texts import mixed
from pipeline.hashes import Hashes

Ints = npt.NDArray[np.int64]


def assign(
    offsets: Ints, documents: Hashes, queries: Hashes, *, wanted: int, cap: int, seed: int
) -> npt.NDArray[np.bool_]:
    """bool [P]: which of the queries' requests are granted.

    Memory is about 60 bytes per request.

    Args:
        offsets: int64 [Q + 1]; the requests of query ``i``, best first, are
            ``offsets[i]:offsets[i + 1]``.
        documents: uint64 [P], hash of the document asked for; none twice by one query.
        queries: uint64 [Q], hash of each query's id.
        wanted: requests granted to a query at most.
        cap: requests granted of a document at most.
        seed: of the draw between queries.
    """
    count = np.diff(offsets)
    owner = np.repeat(np.arange(len(queries)), count)
    place = np.arange(len(documents)) - np.repeat(offsets[:-1], count)
    salt = mixed(np.array([seed], dtype=np.uint64))
    draw = mixed(documents ^ mixed(queries ^ salt)[owner])
    held = np.zeros(len(documents), dtype=bool)
    asked = np.zeros(len(queries), dtype=np.int64)
    while True:
        missing = wanted - np.bincount(owner[held], minlength=len(queries))
        new = (place >= asked[owner]) & (place < (asked + missing)[owner])
        if not new.any():
            return held
        asked = np.minimum(asked + missing, count)
        rivals = np.flatnonzero(held | new)
        order = rivals[np.lexsort((draw[rivals], documents[rivals]))]
        first = np.append(True, documents[order][1:] != documents[order][:-1])
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        held[:] = False
        held[order[np.arange(len(order)) - start < cap]] = True
