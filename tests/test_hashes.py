"""Hashes are the same everywhere, and a set of them knows what it holds."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hashes import HashSet, stable_hashes


def test_hashes_are_the_same_in_every_process() -> None:
    code = "from pipeline.hashes import *; print(stable_hashes(['a', 'é', '\\ud800']))"
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    assert found == {str(stable_hashes(["a", "é", "\ud800"])) + "\n"}
    assert stable_hashes(["a"], salt="x")[0] != stable_hashes(["a"])[0]


@given(batches=st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=12))
def test_a_set_says_what_is_new(batches: list[list[int]]) -> None:
    hashes, seen = HashSet(), set[int]()
    for batch in batches:
        expected = [n not in seen and n not in batch[:place] for place, n in enumerate(batch)]
        assert hashes.add(np.array(batch, dtype=np.uint64)).tolist() == expected
        seen.update(batch)
    sizes = [len(run) for run in hashes._runs]
    assert sum(sizes) == len(seen)
    assert all(left >= 2 * right for left, right in itertools.pairwise(sizes))
