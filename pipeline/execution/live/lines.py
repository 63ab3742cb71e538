"""Progress as lines of the log: the first batch, what is waited for, and one line an interval."""

from __future__ import annotations

import logging
import time
from typing import Final

from pipeline.execution.live import snapshot as live
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import line

logger = logging.getLogger("pipeline")

#: Attribute of log records that hold a snapshot as plain data, for logs that are JSON.
PROGRESS: Final = "progress"

#: What is told of as soon as the driver waits for it; the others are over soon, or come with units.
_NEWS: Final = frozenset(
    {live.WORKERS, live.MODEL, live.FIRST_UNIT, live.HELD_BACK, live.SUSPECTS, live.LAST_UNITS}
)


class Lines:
    """An observer that writes a line when there is something new, or the interval has passed.

    New is what the driver waits for before the first unit and where units failed, that the first
    documents are scored, and that the last unit is committed.

    Args:
        interval_s: seconds between lines otherwise.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last: Snapshot | None = None
        self._said = time.monotonic()

    def __call__(self, now: Snapshot) -> None:
        """Look at a snapshot."""
        before, self._last = self._last, now
        if before is None:
            return  # nothing is known at the start that the plan has not said
        elapsed = time.monotonic() - self._said >= self._interval_s
        if elapsed or _is_news(before, now):
            self._said = time.monotonic()
            logger.info("%s", line(now), extra={PROGRESS: now.as_dict()})


def _is_news(before: Snapshot, now: Snapshot) -> bool:
    if now.units_done > before.units_done and now.units_done == now.units:
        return True
    turned = now.waiting_for != before.waiting_for and now.waiting_for in _NEWS
    return turned or (now.documents_scored > 0) > (before.documents_scored > 0)
