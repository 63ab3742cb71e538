"""Write a finished training set in a format: ``rerank export SET --format NAME``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.export")

from typing import Annotated

import typer

from jobs.command import Overrides, command, console, read_config, run_job
from pipeline.config.export import ExportConfig
from pipeline.execution.distill.card import write_card
from pipeline.execution.distill.exports import Exported, export_set
from pipeline.reports.data_card import require_libraries
from pipeline.training_data.left_out import LEFT_OUT


def export(
    folder: Annotated[str, typer.Argument(metavar="SET", help="Folder of a training set.")],
    formats: Annotated[
        list[str], typer.Option("--format", help="See docs/training_formats.md; repeatable.")
    ],
    to: Annotated[
        str | None, typer.Option("--to", help="Another folder; default: SET/exports/FORMAT.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write a training set in one or more formats, without mining again; run again to resume."""
    with command():
        config = read_config(ExportConfig, None, overrides)
        require_libraries()
        for name in formats:
            target = to if to is None or len(formats) == 1 else f"{to.rstrip('/')}/{name}"
            show_exported(name, export_set(folder, name, config.options, ray=config.ray, to=target))
        console.say(f"card       {write_card(folder)}")


def show_exported(name: str, done: Exported) -> None:
    """Say what an export holds, and what it does not."""
    rows = ", ".join(f"{one['rows']:,} {split}" for split, one in done.summary["splits"].items())
    before = ", finished before" if done.already_finished else ""
    console.say(f"export     {name}: {rows} rows{before}")
    for code, number in done.summary["left_out"].items():
        console.say(f"left out   {number:,} {LEFT_OUT[code]}")
    console.say(f"output     {done.folder}")


def main() -> None:
    """Entry point of ``python -m jobs.export``."""
    run_job(export)
