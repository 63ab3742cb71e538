"""Rates of counters that only grow, over the last seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Final

#: Seconds that shown rates are of: a unit on a CPU takes up to thirty.
SHORT_S: Final = 30.0

#: Seconds that the time left is judged by: long enough not to jump with one slow unit.
LONG_S: Final = 300.0


class Rates:
    """Counters as they were at every moment of the last five minutes."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, float]]] = deque()

    def note(self, counters: Mapping[str, float], *, now: float | None = None) -> None:
        """Note what counters stand at.

        Args:
            counters: by name, always the same names.
            now: seconds of any clock that does not go back; None: the monotonic one.
        """
        now = time.monotonic() if now is None else now
        self._seen.append((now, dict(counters)))
        # The oldest that is kept is the last one before the window, so that it is covered.
        while len(self._seen) > 2 and self._seen[1][0] <= now - LONG_S:
            self._seen.popleft()

    def forget(self) -> None:
        """Begin anew: what was noted so far is no part of any window."""
        self._seen.clear()

    def grown(self, name: str, window_s: float = SHORT_S) -> tuple[float, float]:
        """By how much a counter grew in a window that ends with the last note.

        Returns:
            The growth, and the seconds that it took: 0 where there are fewer than two notes.
        """
        if len(self._seen) < 2:
            return 0.0, 0.0
        now, last = self._seen[-1]
        then, first = next(
            (seen for seen in reversed(self._seen) if seen[0] <= now - window_s), self._seen[0]
        )
        return last[name] - first[name], now - then

    def per_s(self, name: str, window_s: float = SHORT_S) -> float:
        """Growth per second; 0 where nothing is known yet."""
        grown, seconds = self.grown(name, window_s)
        return grown / seconds if seconds > 0 else 0.0
