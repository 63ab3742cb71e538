"""When a request to a store is tried again: one ``storage`` section for a whole process."""

from __future__ import annotations

import random

from pipeline.config import StorageConfig

#: Longest pause between two attempts, in seconds.
LONGEST_PAUSE_S = 20.0

# Ten attempts by default, because a job of 100,000 requests against a store of which 5 % of the
# answers are errors must not fail: three attempts leave 12 failures, ten none (0.05**10 * 1e5).
_current = StorageConfig()


def retry_policy() -> StorageConfig:
    """The settings in force in this process."""
    return _current


def set_retry_policy(settings: StorageConfig) -> None:
    """Put a job's settings in force for every request that this process sends from now on.

    Driver, workers and replicas each call it: processes share no settings.
    """
    global _current
    _current = settings


def pause(backoff_s: float, failures: int) -> float:
    """Seconds to wait after the ``failures``-th failure: half of it fixed, half of it random.

    It doubles from ``backoff_s`` up to :data:`LONGEST_PAUSE_S`. The random half keeps clients that
    were refused together from coming back together.
    """
    # An exponent past 40 is over the longest pause for any backoff worth the name.
    full = min(LONGEST_PAUSE_S, backoff_s * 2.0 ** min(failures - 1, 40))
    return full * random.uniform(0.5, 1.0)
