"""Metrics on their way out while a session runs, and with its last numbers how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.execution.live.metrics import state_of
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot


class Exporter(Protocol):
    """A way out for metrics: an observer of snapshots that is told how the session ended."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""

    def end(self, state: str) -> None:
        """Say how it ended."""


@contextmanager
def exported(monitor: Monitor, exporter: Exporter, *, ended_well: str) -> Iterator[None]:
    """Hand snapshots to an exporter while the body runs; at last one more, and how it ended.

    Args:
        monitor: of the session.
        exporter: what takes them.
        ended_well: the state of a session whose body raised nothing.
    """
    monitor.add(exporter)
    state = ended_well
    try:
        yield
    except BaseException as error:
        state = state_of(error)
        raise
    finally:
        try:
            monitor.look()
        finally:
            exporter.end(state)
