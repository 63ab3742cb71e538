"""What a run's start is made of: when each phase was reached, in the log and in the report."""

from __future__ import annotations

import logging
import time
from typing import Final

logger = logging.getLogger("pipeline")

#: The job is planned; the lease is held; Ray is there, or the server of worker processes is on its
#: way; a replica has its network (by the clock of its machine); a unit is committed.
PLANNED: Final = "planned"
LEASED: Final = "leased"
WORKERS: Final = "workers"
REPLICA: Final = "replica_ready"
COMMITTED: Final = "first_commit"


class Startup:
    """Seconds from the beginning of planning to each phase; the first time counts.

    Args:
        begun: when planning began, by :func:`time.time`.
    """

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.seconds: dict[str, float] = {}

    def reached(self, phase: str, *, at: float | None = None) -> None:
        """Note a phase.

        Args:
            phase: one of the above.
            at: when, by :func:`time.time`; None: now.
        """
        if phase in self.seconds:
            return
        # A replica's machine has a clock of its own, and any clock may be set back.
        since = (time.time() if at is None else at) - self.begun
        self.seconds[phase] = round(max(0.0, since), 3)
        logger.debug("start: %s after %.2f s", phase, self.seconds[phase])
