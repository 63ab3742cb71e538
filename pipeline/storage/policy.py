"""How patient this process is with a store: one policy for every request it sends."""

from __future__ import annotations

import random
from dataclasses import dataclass

#: Longest pause between two attempts, in seconds.
LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class StoragePolicy:
    """When a request is tried again, and when it is given up.

    Ten attempts, because a job of 100,000 requests against a store of which 5 % of the answers are
    errors must not fail: three attempts leave 12 failures, ten leave none (0.05**10 * 1e5 = 1e-8).

    Attributes:
        attempts: how often a request is sent at most.
        backoff_s: seconds before the second attempt; doubled for each further one, up to
            :data:`LONGEST_PAUSE_S`, and jittered.
        stall_s: seconds that a transfer, or the wait for an answer, may go on below
            ``min_bytes_per_s``; it is then abandoned, after ``2 * stall_s`` at the latest.
        min_bytes_per_s: slowest transfer that is still waited for.
        give_up_s: seconds after which a request that keeps failing is not sent again, though
            attempts are left. A transfer that moves is never cut off by it.
    """

    attempts: int = 10
    backoff_s: float = 0.2
    stall_s: float = 30.0
    min_bytes_per_s: int = 64_000
    give_up_s: float = 600.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after the ``failures``-th failure: half of it fixed, half of it chance.

        The chance keeps clients that were refused together from coming back together.
        """
        # An exponent past 40 is over the longest pause for any backoff worth the name.
        full = min(LONGEST_PAUSE_S, self.backoff_s * 2.0 ** min(failures - 1, 40))
        return full * random.uniform(0.5, 1.0)


_current = StoragePolicy()


def current_policy() -> StoragePolicy:
    """The policy of this process."""
    return _current


def use_policy(policy: StoragePolicy) -> None:
    """Make ``policy`` that of every request that this process sends from now on."""
    global _current
    _current = policy
