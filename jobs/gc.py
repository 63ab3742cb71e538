"""Remove what died drivers and workers left behind: ``rerank gc PATH``."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.command import command, console
from pipeline.execution.garbage import collect, find_garbage


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
            console.print(f"{item.kind:<10}{item.path}")
        if not found:
            console.print("nothing to remove")
        elif delete:
            collect(found)
            console.print(f"removed {len(found)}")
        else:
            console.print(f"{len(found)} to remove; --delete removes them")


def main() -> None:
    """Entry point of ``python -m jobs.gc``."""
    typer.run(gc)


if __name__ == "__main__":
    main()
