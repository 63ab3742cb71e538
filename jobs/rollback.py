"""Go back to a run that was published before: ``rerank rollback PATH --reason TEXT``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.rollback")

from typing import Annotated

import typer

from jobs.command import command, console, run_job
from pipeline.errors import ConfigurationError
from pipeline.refresh.publications.reading import sequences
from pipeline.refresh.publications.rolling_back import rollback


def rollback_publication(
    path: Annotated[str, typer.Argument(help="An output folder, the output.path of a refresh.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the publication.")
    ],
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", min=1, help="The publication to go back to; default: the last one "
            "of another run than the current one. `rerank latest --history` lists them.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Publish an earlier run again, as a new publication; nothing is removed."""
    with command():
        if not reason.strip():
            raise ConfigurationError("--reason: empty; say why, for whoever looks at this later")
        last = max(sequences(path), default=0)
        found = rollback(path, to=to, why=reason)
        if found.sequence <= last:
            console.say(f"publication {found.sequence} names run {found.run_id} already")
        else:
            console.say(
                f"published run {found.run_id} again: publication {found.sequence}, to "
                f"{found.restores}"
            )


def main() -> None:
    """Entry point of ``python -m jobs.rollback``."""
    run_job(rollback_publication)
