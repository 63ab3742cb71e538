"""Progress of a run: its counters, shown on a terminal or in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.execution.runs.unit_counts import UnitCounts

logger = logging.getLogger("pipeline")


@dataclass
class Progress:
    """Counters of a run; rates are of this session's work, not of units committed before it.

    Attributes:
        units: units of the run.
        documents_planned: documents of the run, as it was planned.
        units_done: committed units.
        documents: their documents, scored, reused and quarantined.
        quarantined: those without a score.
        tokens: that went through the model in this session.
        resumed_documents: documents of units that were committed before this session.
        reused: documents whose score was taken from an earlier run.
        reused_now: those of this session's units.
        started: when scoring began, by :func:`time.monotonic`.
    """

    units: int
    documents_planned: int
    units_done: int = 0
    documents: int = 0
    quarantined: int = 0
    tokens: int = 0
    resumed_documents: int = 0
    reused: int = 0
    reused_now: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, counts: UnitCounts, *, resumed: bool = False) -> None:
        """Count one committed unit."""
        self.units_done += 1
        self.documents += counts.documents
        self.quarantined += counts.quarantined
        self.reused += counts.reused or 0
        if resumed:
            self.resumed_documents += counts.documents
        else:
            self.tokens += counts.tokens
            self.reused_now += counts.reused or 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since scoring began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def documents_per_s(self) -> float:
        """Documents that this session put through the model, per second; reused ones are none."""
        return (self.documents - self.resumed_documents - self.reused_now) / self.elapsed_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens committed by this session per second."""
        return self.tokens / self.elapsed_s

    @property
    def left_s(self) -> float | None:
        """Seconds left at the present rate; None before the first unit."""
        rate = (self.documents - self.resumed_documents) / self.elapsed_s
        return max(self.documents_planned - self.documents, 0) / rate if rate > 0 else None

    def line(self) -> str:
        """One line for a log, or for a terminal of 80 columns."""
        left = "-" if self.left_s is None else _duration(self.left_s)
        reused = f"{self.reused:,} reused, " if self.reused else ""
        return (
            f"units {self.units_done}/{self.units}, {self.documents:,} documents, {reused}"
            f"{self.documents_per_s:,.0f}/s, {self.tokens_per_s:,.0f} tokens/s, "
            f"left {left}, quarantined {self.quarantined}"
        )


class Reporter(Protocol):
    """Shows progress as it changes."""

    def update(self, progress: Progress) -> None:
        """Called after every unit."""


class LogReporter:
    """One log line per interval."""

    def __init__(self, interval_s: float) -> None:
        self.interval_s = interval_s
        self.last = time.monotonic()

    def update(self, progress: Progress) -> None:
        """Log when the interval has passed, and at the end."""
        now = time.monotonic()
        if now - self.last >= self.interval_s or progress.units_done == progress.units:
            self.last = now
            logger.info("%s", progress.line())


@contextmanager
def reporter(progress: Progress, interval_s: float) -> Iterator[Reporter]:
    """A live line on a terminal, log lines elsewhere."""
    from pipeline.reports.terminal import Terminal

    console = Terminal(stderr=True)
    if not console.is_terminal:
        yield LogReporter(interval_s)
        return
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"units {progress.units_done}/{progress.units}, starting workers")

        class Live:
            def update(self, progress: Progress) -> None:
                bar.update(task, description=progress.line())

        yield Live()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
