"""Write a run or a training set in another format: ``rerank export FOLDER --format NAME``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.export")

from typing import Annotated

import typer

from jobs.command import Overrides, command, console, read_config, run_job
from pipeline.config.export import ExportConfig
from pipeline.distillation.rules.left_out import LEFT_OUT
from pipeline.distillation.sets.card_files import write_card
from pipeline.distillation.sets.data_card import require_libraries
from pipeline.distillation.sets.exports import Exported, export_set
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.finding import find_run, holds_runs
from pipeline.execution.runs.run_export import export_run
from pipeline.plurals import counted


def export(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of a published run (or an output folder: its only or latest run), or of "
            "a training set.",
        ),
    ],
    formats: Annotated[
        list[str],
        typer.Option(
            "--format",
            help="Of a run: one of output.formats, such as trec. Of a set: see "
            "docs/training_formats.md. Repeatable.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Of a run: the file, replaced where it is there; default: beside the run's "
            "folder, named like it.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Of a set: another folder; default: SET/exports/FORMAT."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Write a run, or a training set, in one or more other formats, without scoring or mining."""
    with command():
        config = read_config(ExportConfig, None, overrides)
        if holds_runs(folder):
            _refuse("a run", {"--to": to, "--set": overrides}, "name the file with --output")
            _export_run(folder, formats, output)
            return
        _refuse("a training set", {"--output": output}, "name a folder with --to")
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


def _export_run(path: str, formats: list[str], output: str | None) -> None:
    if output is not None and len(formats) > 1:
        raise ConfigurationError(
            f"--output {output}: is one file, and {len(formats)} formats were asked for; export "
            "one after the other"
        )
    for name in formats:
        done = export_run(find_run(path), name, output=output)
        console.say(f"export     {name}: {counted(done.rows, 'row')}")
        if done.left_out:
            console.say(f"left out   {done.left_out:,} {done.why}")
        console.say(f"output     {done.path}")


def _refuse(what: str, options: dict[str, object], advice: str) -> None:
    """An option that would do nothing is no option."""
    for name, value in options.items():
        if value:
            raise ConfigurationError(f"{name}: an export of {what} has no such option; {advice}")


def main() -> None:
    """Entry point of ``python -m jobs.export``."""
    run_job(export)
