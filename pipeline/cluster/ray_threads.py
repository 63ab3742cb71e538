"""Waits for threads of Ray Data, which must have ended before Ray is shut down.

A thread that calls Ray after its shutdown has Ray's C++ code end the whole process, with exit code
1 and no traceback. Ray Data leaves such threads behind wherever a dataset is not read to its end:
one fetches rows ahead of the reader and is told to stop, but not waited for, and that of the
executor is waited for two seconds. So after SIGTERM, at a limit, or after any error a driver could
be gone before it had given its lease back.

Another one sleeps for ever where it is told to stop just before it falls asleep, as it often is at
the end of a dataset (``WaitBlockPrefetcher._run`` of Ray 2.60 looks whether it is stopped before it
takes the lock that it waits with). It is woken until it has seen that it is to stop.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

logger = logging.getLogger("pipeline")

#: Where the code of such threads is; other threads of Ray end with its shutdown.
_PACKAGE: Final = "ray.data"

#: Seconds between two attempts to wake a thread.
_AGAIN_S: Final = 0.05


def wait_for_ray_data(patience_s: float) -> None:
    """Return when no thread of Ray Data runs any more, or after ``patience_s`` seconds."""
    until = time.monotonic() + patience_s
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and _of_ray_data(thread):
            _wait_for(thread, until)
            if thread.is_alive():
                logger.debug("Ray is shut down while its thread %r still runs", thread.name)


def _wait_for(thread: threading.Thread, until: float) -> None:
    owner = getattr(getattr(thread, "_target", None), "__self__", None)
    asleep_at = getattr(owner, "_condition", None)
    left_s = until - time.monotonic()
    while thread.is_alive() and left_s > 0:
        if owner is None or not isinstance(asleep_at, threading.Condition):
            thread.join(left_s)
        else:
            with asleep_at:
                owner._stopped = True
                asleep_at.notify_all()
            thread.join(min(left_s, _AGAIN_S))
        left_s = until - time.monotonic()


def _of_ray_data(thread: threading.Thread) -> bool:
    """Whether its class or its function is Ray Data's; a thread forgets the latter as it ends."""
    target = getattr(thread, "_target", None)
    modules = type(thread).__module__, getattr(target, "__module__", None) or ""
    return any(f"{module}.".startswith(f"{_PACKAGE}.") for module in modules)
