"""Ends a process that takes too long over a unit; each of several units has its own limit."""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TextIO

from pipeline.errors import ExitCode

#: Seconds that last words may take: to release a lease, of a store that answers slowly.
_LAST_WORDS_S: Final = 10.0


class _Deadlines:
    """The moments at which this process must be through with each of its units.

    The interpreter has one clock for a process that ends it, so it is set for the earliest of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = itertools.count()
        self._due: dict[int, float] = {}
        self._timer: threading.Timer | None = None
        self.last_words: Callable[[], None] | None = None

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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._due:
            faulthandler.cancel_dump_traceback_later()
            return
        # The clock takes no time that has passed; a limit that has is kept at once.
        left = max(min(self._due.values()) - time.monotonic(), 1e-3)
        if self.last_words is not None:
            self._timer = threading.Timer(left, self._speak, [self.last_words])
            self._timer.daemon = True
            self._timer.start()
            left += _LAST_WORDS_S
        faulthandler.dump_traceback_later(left, exit=True)

    @staticmethod
    def _speak(last_words: Callable[[], None]) -> None:
        faulthandler.dump_traceback()
        last_words()
        os._exit(int(ExitCode.FAILED))


_DEADLINES: Final = _Deadlines()


@contextlib.contextmanager
def last_words(call: Callable[[], None]) -> Iterator[None]:
    """Have a limit that runs out in the body end this process by ``call`` and exit code 5.

    For a process that is no worker, but a driver. Code that holds Python's lock for ever keeps
    ``call`` from being called; the process is ended some seconds later all the same.
    """
    _DEADLINES.last_words = call
    try:
        yield
    finally:
        _DEADLINES.last_words = None


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
