"""SIGTERM: no further unit is begun, those in progress get a grace period, then the run stops.

SIGHUP, which a closed terminal sends, is the same, unless `nohup` had it ignored.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from pipeline.errors import RerankError, TerminatedError

logger = logging.getLogger("pipeline")

#: Signals that ask this process to stop.
_ASKS: Final = (signal.SIGTERM, signal.SIGHUP)


class Termination:
    """Whether SIGTERM, or a limit that was reached, has asked this process to stop.

    Attributes:
        requested: it was asked to.
        at_once: nothing is at work yet, so that a signal stops this process where it finds it.
        on_request: called when that comes, by a signal handler or another thread.
        on_exit: releases what this process holds, before it is ended by ``os._exit``.

    Args:
        grace_s: seconds that units in progress get.
        on_request: see above.
        on_exit: see above; called by another thread than the main one.
        at_once: see above.
    """

    def __init__(
        self,
        *,
        grace_s: float,
        on_request: Callable[[], None],
        on_exit: Callable[[], None],
        at_once: bool = False,
    ) -> None:
        self.requested = False
        self.at_once = at_once
        self.on_exit = on_exit
        self._grace_s = grace_s
        self.on_request = on_request
        self._signal = signal.SIGTERM
        self._listening = False
        self._error: RerankError | None = None

    def request(self, error: RerankError, *, now: bool = False) -> None:
        """Ask to stop once the units in progress are done, for another reason than SIGTERM.

        They get the time that they need; any thread may call this, and the first reason counts.

        Args:
            error: the reason.
            now: there are none, and nothing else would wake the main thread up.
        """
        if not self.requested:
            self._error = error
            self.requested = True
            self.on_request()
            if now and self._listening:
                signal.setitimer(signal.ITIMER_REAL, 1e-3)

    def check(self) -> None:
        """Stop now, if asked to.

        Raises:
            TerminatedError: SIGTERM or SIGHUP has come.
            RerankError: what :meth:`request` was given.
        """
        if self._error is not None:
            raise self._error
        if self.requested:
            why = " (the terminal was closed)" if self._signal is signal.SIGHUP else ""
            raise TerminatedError(
                f"{self._signal.name}{why}: the run was given up in order; finished units are "
                "kept, run the same command again to resume"
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Handle the signals while the body runs; only possible in the main thread.

        Starting Ray replaces the handler of SIGTERM, so :meth:`listen` again after that.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous: dict[int, Any] = {
            number: signal.getsignal(number) for number in (*_ASKS, signal.SIGALRM)
        }
        self.listen()
        try:
            yield
        finally:
            self._listening = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in _ASKS:
                if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue  # by nohup
                signal.signal(number, self._asked)
            signal.signal(signal.SIGALRM, self._too_late)
            self._listening = True

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if not self.requested or self._error is not None:
            self.requested, self._error = True, None
            self._signal = signal.Signals(number)
            if self.at_once:
                self.check()
            self.on_request()
            # The body may be waiting for a unit that takes longer than the grace.
            signal.setitimer(signal.ITIMER_REAL, max(self._grace_s, 1e-3))

    def _too_late(self, number: int, frame: FrameType | None) -> None:
        if self._listening:
            self.check()
