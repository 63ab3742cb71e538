"""Remove what died drivers and workers left behind: ``rerank gc PATH``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.gc")

from typing import Annotated

import typer

from jobs.command import command, console, run_job
from pipeline.execution.runs.garbage import collect, find_garbage


def gc(
    path: Annotated[str, typer.Argument(help="A run folder, or an output folder with runs.")],
    older_than_h: Annotated[
        float, typer.Option("--older-than", metavar="HOURS", min=0, help="Leave what is younger.")
    ] = 24.0,
    delete: Annotated[bool, typer.Option("--delete", help="Remove what is listed.")] = False,
) -> None:
    """List what crashed sessions left behind: temporary files, marks of attempts, cut uploads."""
    with command():
        found = find_garbage(path, older_than_h=older_than_h)
        for item in found:
            console.say(f"{item.kind:<10}{item.path}")
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
