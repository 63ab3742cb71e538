"""What changed between two runs: ``rerank diff A B``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.diff")

import json
from typing import Annotated

import typer

from jobs.command import Overrides, command, console, read_config, run_job
from pipeline.config.diff import DiffConfig
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.changes.joined import ids_that_differ
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.changes.places import RaySettings
from pipeline.refresh.publications.reading import current, publication, root_of, run_of
from pipeline.reports.changes_table import changes_table

#: What ``--json`` prints of the manifest of changes.
_TOLD = ("from", "to", "columns", "statistics")


def diff(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="Folders of two finished runs; or an output folder and two numbers of "
            "publications; or an output folder alone: what serves and the run that was finished "
            "last, or, where that serves, the publication before and it.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    overrides: Overrides = None,
) -> None:
    """Show what is new, changed and gone from run A to run B, and how alike their orders are.

    The changes are kept in the output folder of B, where a refresh finds them.
    """
    with command():
        config = read_config(DiffConfig, None, overrides)
        before, after = _runs(given)
        root = after.path.rpartition("/")[0]
        changes = make_changes(root, before, after, RaySettings(ray=config.ray))
        differ = ids_that_differ(before, after, changes.manifest["statistics"])
        if as_json:
            told = {name: changes.manifest[name] for name in _TOLD}
            typer.echo(json.dumps({"folder": changes.path, "ids": differ, **told}, indent=2))
            return
        console.say(f"before     {before.path}")
        console.say(f"after      {after.path}")
        console.print(changes_table(changes.manifest["statistics"], changes.manifest["columns"]))
        for sentence in differ:
            console.say(f"ids        {sentence}")
        console.say(f"changes    {changes.path}")


def _runs(given: list[str]) -> tuple[RunFolder, RunFolder]:
    """The two runs that a command line names.

    Raises:
        ConfigurationError: it names more or fewer.
        NotFoundError: one of them is not there.
    """
    if len(given) == 2:
        return find_run(given[0]), find_run(given[1])
    if len(given) not in (1, 3):
        raise ConfigurationError(
            f"diff: {len(given)} arguments; give two run folders, or an output folder and two "
            "numbers of publications"
        )
    root = root_of(given[0])
    if len(given) == 1:
        return _last_two(root)
    before, after = (_published(root, _sequence(text)) for text in given[1:])
    return before, after


def _last_two(root: str) -> tuple[RunFolder, RunFolder]:
    """What serves and a run that was finished since, such as one that a gate held back.

    Where there is none: what served before, and what serves.
    """
    serving = current(root)
    if serving is not None:
        finished = find_run(root)
        if finished.path.rpartition("/")[2] != serving.run_id:
            return run_of(root, serving), finished
        if serving.previous is not None:
            return _published(root, serving.previous), run_of(root, serving)
    raise NotFoundError(
        f"{root}: there are no two publications to compare; give the folders of two runs"
    )


def _published(root: str, sequence: int) -> RunFolder:
    return run_of(root, publication(root, sequence))


def _sequence(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigurationError(
            f"diff: {text!r} is no number of a publication; `rerank latest --history` lists them"
        )
    return int(text)


def main() -> None:
    """Entry point of ``python -m jobs.diff``."""
    run_job(diff)
