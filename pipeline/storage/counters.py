"""Counts of storage faults that this process recovered from, for the run's report."""

from __future__ import annotations

import threading
from collections import Counter
from enum import StrEnum


class Event(StrEnum):
    """What is counted; the values are the keys of :func:`take`."""

    THROTTLED = "retries_throttled"  # 503 SlowDown, 429
    SERVER = "retries_server_error"  # other 5xx, RequestTimeout, an answer that is no XML
    CONNECTION = "retries_connection"  # refused, reset, closed before the last byte
    STALLED = "retries_stalled"  # slower than the floor, or silent
    CONFLICT = "retries_conflict"  # 409: two conditional requests met, and neither landed
    DAMAGED = "retries_damaged"  # a checksum did not fit
    AMBIGUOUS = "ambiguous_writes_resolved"  # our write had landed, only its answer was lost
    REFRESHED = "credential_refreshes"  # expired credentials read again


_lock = threading.Lock()
_counts: Counter[str] = Counter()


def count(event: Event) -> None:
    """Add one."""
    with _lock:
        _counts[event.value] += 1


def take() -> dict[str, int]:
    """Counts of this process since the last call, events that did not happen left out.

    Each event is handed out once: whoever takes it reports it. A driver and the stages that it
    runs itself share these counts, as do stages that one worker runs one after the other.
    """
    global _counts
    with _lock:
        taken, _counts = _counts, Counter()
    return dict(taken)
