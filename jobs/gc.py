"""Remove what died drivers and workers left behind: ``rerank gc PATH``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.gc")

from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.command import command, console, run_job
from pipeline.execution.runs.garbage import collect, find_garbage
from pipeline.refresh.publications.retention import retire


def gc(
    path: Annotated[str, typer.Argument(help="A run folder, or an output folder with runs.")],
    older_than_h: Annotated[
        float, typer.Option("--older-than", metavar="HOURS", min=0, help="Leave what is younger.")
    ] = 24.0,
    keep_last: Annotated[
        int | None,
        typer.Option(
            "--keep-last", metavar="N", min=1, help="Publications past the last N may go, with "
            "their runs; with --keep-days only those that are past both.",
        ),
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days", metavar="D", min=0, help="Publications that are older than D days may "
            "go, with their runs; the current one never does.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
) -> None:  # fmt: skip
    """List what crashed sessions left behind, and past publications; nothing that one names."""
    with command():
        found = find_garbage(path, older_than_h=older_than_h)
        found += retire(
            path,
            keep_last=keep_last,
            keep_days=keep_days,
            now=datetime.now(UTC),
            older_than_h=older_than_h,
        )
        for item in found:
            console.say(f"{item.kind:<12}{item.path}")
        if not found:
            console.say("nothing to remove")
        elif delete:
            collect(found)
            console.say(f"removed {len(found)}")
        else:
            console.say(f"{len(found)} to remove; --delete removes them")


def main() -> None:
    """Entry point of ``python -m jobs.gc``."""
    run_job(gc)
