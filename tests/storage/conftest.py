"""Every storage test begins with the same policy, with pauses that a test can wait for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.storage.policy import StoragePolicy, current_policy, use_policy


@pytest.fixture(autouse=True)
def quick_policy() -> Iterator[StoragePolicy]:
    before = current_policy()
    policy = StoragePolicy(backoff_s=0.01)
    use_policy(policy)
    yield policy
    use_policy(before)
