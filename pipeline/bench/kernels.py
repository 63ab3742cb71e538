"""What a profile says of the time of a stretch of work: which kernels took it, and what no one did.

Pure functions over what a profiler saw, so that they are tested without a GPU.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Kernels that a table names; the others are one row of it.
_MOST: Final = 20

#: Idle stretches below this lie between two kernels that are queued one after the other.
_GAP_S: Final = 20e-6

#: Name of the row that holds what the table does not name.
OTHERS: Final = "others"


@dataclass(frozen=True, kw_only=True)
class Span:
    """A kernel, a copy or a fill on the device.

    Attributes:
        name: of the kernel.
        start_s: when it began.
        stop_s: when it ended, by the same clock.
    """

    name: str
    start_s: float
    stop_s: float


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """All launches of one kernel.

    Attributes:
        name: of the kernel, or of the operator on CPU.
        seconds: that it took, all launches together.
        share: of the seconds of all kernels.
        count: launches.
    """

    name: str
    seconds: float
    share: float
    count: int


@dataclass(frozen=True, kw_only=True)
class DeviceTime:
    """How a stretch of time on the device was spent.

    Attributes:
        window_s: from the beginning of the first kernel to the end of the last one.
        busy_s: of that, with at least one kernel running.
        idle_s: the rest of it, in which the device waited for the host.
        gaps: idle stretches of 20 microseconds or more.
        longest_gap_s: the longest of them; 0 where there is none.
    """

    window_s: float
    busy_s: float
    idle_s: float
    gaps: int
    longest_gap_s: float


def device_time(spans: Iterable[Span]) -> DeviceTime:
    """How the device spent the time of some kernels, which may overlap; all 0 without any."""
    ordered = sorted(spans, key=lambda span: span.start_s)
    if not ordered:
        return DeviceTime(window_s=0, busy_s=0, idle_s=0, gaps=0, longest_gap_s=0)
    first = until = ordered[0].start_s
    idle: list[float] = []
    for span in ordered:
        if span.start_s > until:
            idle.append(span.start_s - until)
        until = max(until, span.stop_s)
    gaps = [seconds for seconds in idle if seconds >= _GAP_S]
    return DeviceTime(
        window_s=until - first,
        busy_s=until - first - sum(idle),
        idle_s=sum(idle),
        gaps=len(gaps),
        longest_gap_s=max(gaps, default=0.0),
    )


def rows_of_spans(spans: Iterable[Span]) -> list[KernelRow]:
    """The table of what ran on the device; see :func:`rows`."""
    seconds: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for span in spans:
        seconds[span.name] += span.stop_s - span.start_s
        counts[span.name] += 1
    return rows([(name, seconds[name], counts[name]) for name in seconds])


def rows(totals: Sequence[tuple[str, float, int]]) -> list[KernelRow]:
    """Kernels by the seconds that they took, the most first; those after the twentieth as one row.

    Args:
        totals: name, seconds and launches of each.
    """
    whole = sum(seconds for _, seconds, _ in totals)

    def row(name: str, seconds: float, count: int) -> KernelRow:
        share = seconds / whole if whole else 0.0
        return KernelRow(name=name, seconds=seconds, share=share, count=count)

    ordered = sorted(totals, key=lambda total: (-total[1], total[0]))
    named, rest = ordered[:_MOST], ordered[_MOST:]
    table = [row(*total) for total in named]
    if rest:
        seconds, count = sum(total[1] for total in rest), sum(total[2] for total in rest)
        table.append(row(OTHERS, seconds, count))
    return table
