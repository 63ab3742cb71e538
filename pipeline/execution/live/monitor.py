"""A thread that takes a snapshot of a run each second and hands it to whoever wants it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from pipeline.errors import TerminatedError
from pipeline.execution.live.snapshot import FINISHED_UNITS, LEASE, Snapshot

logger = logging.getLogger("pipeline")

Observer = Callable[[Snapshot], None]

#: Seconds between two snapshots.
INTERVAL_S: Final = 1.0


class Monitor:
    """The snapshots of one session.

    Attributes:
        latest: the last one taken.

    Args:
        measure: makes a snapshot, given what the driver waits for; called by one thread at a time.
    """

    def __init__(self, measure: Callable[[str], Snapshot]) -> None:
        self._measure = measure
        self._observers: list[Observer] = []
        self._phase = LEASE
        self._ended = threading.Event()
        self._taking = threading.Lock()
        self.latest = Snapshot()
        self._defect = ""  # why the last snapshot could not be taken

    def add(self, observer: Observer) -> None:
        """Hand every further snapshot to ``observer``, in the monitor's thread.

        One that raises is logged and gets no more: whatever shows a run must not stop it.
        """
        with self._taking:
            self._observers.append(observer)

    def phase(self, name: str) -> None:
        """Note what the driver waits for from now on, and take a snapshot.

        What follows may be a library's call that lets no other thread run, such as Ray's start.
        """
        self._phase = name
        self.look()

    def end(self, name: str) -> None:
        """Take the last snapshot: whoever asks later gets that one.

        The report and the lease are written one after the other, and tell the same.

        Args:
            name: how the session ended.
        """
        with self._taking:
            self._phase = name
            self._ended.set()
            self._take()

    def look(self) -> Snapshot:
        """Take a snapshot now, and hand it to the observers; after the last, there is none.

        Raises:
            TerminatedError: SIGTERM came long ago, and this is the main thread.
        """
        with self._taking:
            if not self._ended.is_set():
                self._take()
            return self.latest

    def _take(self) -> None:
        try:
            self.latest = self._measure(self._phase)
        except TerminatedError:
            raise
        except Exception as error:  # a defect, which must not hide itself or stop the run
            if repr(error) != self._defect:  # nor fill the log, second by second
                self._defect = repr(error)
                logger.exception("no snapshot of this run could be taken")
            return
        for observer in tuple(self._observers):
            self._tell(observer)

    def _tell(self, observer: Observer) -> None:
        try:
            observer(self.latest)
        except TerminatedError:  # not the observer's: a signal handler's
            raise
        except Exception as error:
            self._observers.remove(observer)
            name = getattr(observer, "__qualname__", type(observer).__name__)
            logger.warning(
                "%s is told of this run's progress no more: %s: %s",
                name,
                type(error).__name__,
                error,
            )

    def shown(self) -> dict[str, Any]:
        """The last snapshot as the lease carries it, for ``rerank status``.

        Whoever reads it there knows that the lease is waited for no more.
        """
        now = self.latest
        if now.waiting_for == LEASE:
            now = replace(now, waiting_for=FINISHED_UNITS)
        return now.as_dict()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take snapshots while the body runs: one at once, then one each second."""
        self.look()
        thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self.look()
