"""Which units are in a worker process together.

When a process dies, every unit in it is marked, and nothing says which one killed it. So a unit
that is marked already is let in alone: whatever kills the process then, it was that unit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Admission:
    """Lets units into a process: several together, or one alone.

    A readers-writer lock in which who wants to be alone goes first, so that a steady stream of
    others cannot keep it waiting.

    Attributes:
        slots: units that may be in the process at one time.
    """

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting_to_be_alone = 0
        self._alone = False

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        """In the process with up to ``slots - 1`` others."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    not self._alone and not self._waiting_to_be_alone and self._inside < self.slots
                )
            )
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """In the process with no other."""
        with self._changed:
            self._waiting_to_be_alone += 1
            self._changed.wait_for(lambda: not self._alone and not self._inside)
            self._waiting_to_be_alone -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
