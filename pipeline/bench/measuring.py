"""Seconds by the clock and of CPU, and memory at its highest, of one stretch of work."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

#: Seconds between two looks at the memory.
_INTERVAL_S: Final = 0.02
_STATM: Final = Path("/proc/self/statm")


@dataclass(kw_only=True)
class Cost:
    """Seconds of something.

    Attributes:
        wall_s: by the clock.
        cpu_s: of this process, all threads together.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Add what the block takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu


@dataclass(kw_only=True)
class Memory:
    """Bytes at their highest.

    Attributes:
        rss: of the process, everything that it had loaded before among them; 0 where the system
            does not say.
        device: allocated by torch on the GPU beyond what was there before; 0 on CPU.
    """

    rss: int = 0
    device: int = 0


@contextmanager
def memory(device: torch.device) -> Iterator[Memory]:
    """Watch the memory while the block runs; the numbers are there once it has ended."""
    import torch

    found = Memory(rss=_rss())
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(_INTERVAL_S):
            found.rss = max(found.rss, _rss())

    before = 0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
        if device.type == "cuda":
            found.device = torch.cuda.max_memory_allocated(device) - before


def _rss() -> int:
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Some measurements of one thing.

    Attributes:
        median: of all.
        least: the smallest.
        most: the largest.
    """

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """At least one value."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))
