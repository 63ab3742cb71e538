"""Ends a process that takes too long over a unit; each of several units has its own limit."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final, TextIO


class _Deadlines:
    """The moments at which this process must be through with each of its units.

    The interpreter has one clock for a process that ends it, so it is set for the earliest of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = itertools.count()
        self._due: dict[int, float] = {}

    def add(self, seconds: float) -> int:
        """Begin a limit; returns its name."""
        with self._lock:
            name = next(self._names)
            self._due[name] = time.monotonic() + seconds
            self._set_clock()
            return name

    def remove(self, name: int) -> None:
        """End a limit."""
        with self._lock:
            del self._due[name]
            self._set_clock()

    def _set_clock(self) -> None:
        if not self._due:
            faulthandler.cancel_dump_traceback_later()
            return
        left = min(self._due.values()) - time.monotonic()
        # The clock takes no time that has passed; a limit that has is kept at once.
        faulthandler.dump_traceback_later(max(left, 1e-3), exit=True)


_DEADLINES: Final = _Deadlines()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process, with a traceback of every thread, when the body takes longer.

    Bodies may run in several threads at one time. The clock is a thread without Python's lock, so
    that it also ends code that never returns to the interpreter.
    """
    if not _has_descriptor(sys.stderr):
        yield  # a captured stream, as in a notebook: nothing could be written to it from there
        return
    name = _DEADLINES.add(seconds)
    try:
        yield
    finally:
        _DEADLINES.remove(name)


def _has_descriptor(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
