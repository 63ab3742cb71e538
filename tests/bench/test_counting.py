from __future__ import annotations

import numpy as np

from pipeline.bench.counting import digest
from pipeline.sequences.sequences import Sequences


def test_the_digest_sees_ids_and_lengths() -> None:
    def sequences(ids: list[int], offsets: list[int]) -> Sequences:
        return Sequences.one_readout_each(np.array(ids, np.int32), np.array(offsets, np.int64))

    first = digest([sequences([1, 2, 3], [0, 2, 3])])
    assert first == digest([sequences([1, 2, 3], [0, 2, 3])])
    assert first != digest([sequences([1, 2, 4], [0, 2, 3])])
    assert first != digest([sequences([1, 2, 3], [0, 1, 3])])
