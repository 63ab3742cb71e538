"""Every storage test begins with the same policy, with pauses that a test can wait for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.config import StorageConfig
from pipeline.storage.policy import retry_policy, set_retry_policy


@pytest.fixture(autouse=True)
def quick_policy() -> Iterator[StorageConfig]:
    before = retry_policy()
    policy = StorageConfig(backoff_s=0.01)
    set_retry_policy(policy)
    yield policy
    set_retry_policy(before)
