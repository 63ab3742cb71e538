"""Who is told of a run's snapshots: a person at a terminal, or a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.execution.live.lines import Lines
from pipeline.execution.live.monitor import Monitor
from pipeline.reports.log_lines import logs_are_json
from pipeline.reports.terminal import Terminal


@contextmanager
def displayed(monitor: Monitor, interval_s: float) -> Iterator[Callable[[], None]]:
    """Show a run's snapshots while the body runs; gives what ends that at once.

    On a terminal they are drawn in place. Elsewhere, on terminals that cannot move their cursor,
    and where the log is JSON, they become lines of the log.

    Args:
        monitor: takes the snapshots.
        interval_s: seconds between lines.
    """
    console = Terminal(stderr=True)
    draws = sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal
    if not draws or logs_are_json():
        monitor.add(Lines(interval_s))
        yield _nothing
        return
    from pipeline.execution.live.dashboard import Dashboard

    dashboard = Dashboard(console)
    with dashboard.shown():
        monitor.add(dashboard)
        yield dashboard.stop


def _nothing() -> None:
    """Lines leave nothing to be put back."""
