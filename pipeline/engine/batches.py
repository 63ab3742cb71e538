"""Which batches of a unit a device is through with, asked while it works on the others."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.engine.statistics import Stopwatch


class BatchesDone:
    """Totals of the batches that have ended; one thread adds batches, others read the totals.

    On a GPU forward passes are queued long before they are computed, so a batch counts once the
    event behind it in the stream has passed, which is looked up and never waited for.
    """

    def __init__(self) -> None:
        self._queued: deque[tuple[Stopwatch, int, int]] = deque()
        self._lock = threading.Lock()
        self._sequences = self._tokens = 0
        self._busy_s = 0.0

    def add(self, watch: Stopwatch, *, sequences: int, tokens: int) -> None:
        """A batch is queued on the device, or computed already.

        Args:
            watch: around it.
            sequences: whose readouts it gives.
            tokens: of these sequences.
        """
        with self._lock:
            self._queued.append((watch, sequences, tokens))

    @property
    def sequences(self) -> int:
        """Sequences whose batches have ended."""
        self._look()
        return self._sequences

    @property
    def tokens(self) -> int:
        """Their tokens."""
        self._look()
        return self._tokens

    @property
    def busy_s(self) -> float:
        """Seconds that the device spent on them."""
        self._look()
        return self._busy_s

    def _look(self) -> None:
        with self._lock:
            while self._queued and self._queued[0][0].ended:
                watch, sequences, tokens = self._queued.popleft()
                self._sequences += sequences
                self._tokens += tokens
                self._busy_s += watch.wait()
