"""The rows of a snapshot on a terminal, rewritten in place while log lines pass above them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import rows
from pipeline.reports.terminal import Terminal

_HEADINGS: Final = 13  # columns, as in `rerank status`


class Dashboard:
    """An observer that draws snapshots on a terminal.

    Args:
        console: on the terminal.
    """

    def __init__(self, console: Terminal) -> None:
        self._console = console
        self._live = Live(
            console=console,
            auto_refresh=False,  # snapshots come once a second, and nothing changes in between
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            redirect_stderr=True,
        )

    def __call__(self, now: Snapshot) -> None:
        """Draw a snapshot."""
        if self._live.is_started:
            self._live.update(drawn(now), refresh=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the body runs; the last one stays on the terminal."""
        with self._live, _logs_above(self._console):
            yield

    def stop(self) -> None:
        """Give the terminal back, as a process must that ends without leaving :meth:`shown`."""
        self._live.stop()


def drawn(now: Snapshot) -> RenderableType:
    """A snapshot as a table of as many columns as the terminal has, with a bar of documents."""
    through = min(now.documents + now.documents_in_flight, now.documents_planned)
    share = through / now.documents_planned if now.documents_planned else 0.0
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(ratio=1)
    bar.add_column(width=5, justify="right", no_wrap=True)
    bar.add_row(
        ProgressBar(total=max(now.documents_planned, 1), completed=through), f"{_floored(share)}%"
    )
    return listed([("progress", bar), *rows(now)])


def listed(items: Iterable[tuple[str, RenderableType]]) -> RenderableType:
    """Headings and what stands beside them, as wide as the terminal; long texts go on below."""
    table = Table.grid(padding=0, expand=True)
    table.add_column(width=_HEADINGS, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for heading, text in items:
        table.add_row(heading, text)
    return table


def _floored(share: float) -> int:
    """Per cent; 100 only at the end."""
    return int(100 * share)


@contextmanager
def _logs_above(console: Terminal) -> Iterator[None]:
    """Let log lines pass above what is drawn, where their handlers write to this terminal."""
    handlers = [
        handler
        for handler in logging.getLogger("pipeline").handlers
        if isinstance(handler, logging.StreamHandler) and _is_terminal(handler.stream)
    ]
    streams = [handler.setStream(FileProxy(console, handler.stream)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            handler.flush()
            if stream is not None:
                handler.setStream(stream)


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())
