"""Look without scoring: the state of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, Final

import typer
from rich.live import Live

from jobs.command import command, console
from pipeline.errors import ExitCode
from pipeline.execution.live.dashboard import listed
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import rows
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.listing import advice
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import lines, run_state
from pipeline.execution.runs.verification import audit
from pipeline.storage.store import list_entries

#: Seconds between two looks at a run that is watched; its driver says more every ten.
_WATCH_S: Final = 5.0

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def status(
    run: Annotated[
        str, typer.Argument(help="A run folder, or an output folder: its only or latest run.")
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="Read every file of the run, and say what is not whole."),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show it anew every few seconds while a driver is at work."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, who drives it, what it quarantined, and what its last session did."""
    with command():
        entries = cache(list_entries)  # what finding the run has listed is listed
        folder = find_run(run, entries=entries)
        if check:
            _check(folder, as_json)
            return
        state = _watched(folder, as_json) if watch else run_state(folder, entries=entries)
        if as_json:
            typer.echo(json.dumps(state, indent=None if watch else 2))
        elif not watch or not console.is_terminal:
            for heading, text in _rows(state):
                console.say(f"{heading:<13}{text}")
        if state["problems"]:
            raise typer.Exit(int(ExitCode.MISSING))


def _watched(folder: RunFolder, as_json: bool) -> dict[str, Any]:
    """Show a run while a driver is at work: in place on a terminal, else one state after the other.

    Returns:
        The last state; a terminal shows it already.
    """
    draws = console.is_terminal and not as_json
    with Live(console=console, auto_refresh=False) if draws else nullcontext() as shown:
        while True:
            state = run_state(folder)
            if shown is not None:
                shown.update(listed(_rows(state)), refresh=True)
            if state["live"] is None:
                return state
            if as_json:
                typer.echo(json.dumps(state))
            elif shown is None:
                for heading, text in _rows(state):
                    console.say(f"{heading:<13}{text}")
                console.say()
            time.sleep(_WATCH_S)


def _rows(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    live = state["live"]
    return lines(state, () if live is None else rows(Snapshot.from_dict(live)))


def _check(folder: RunFolder, as_json: bool) -> None:
    """Show what an audit finds; exit code 4 unless that is nothing."""
    problems = audit(folder)
    if as_json:
        found = {"whole": not problems, "problems": [asdict(problem) for problem in problems]}
        typer.echo(json.dumps({"folder": folder.path} | found, indent=2))
    else:
        console.say(f"{'run':<13}{folder.path}")
        for problem in problems:
            console.say(f"{problem.kind:<13}{problem}")
        state = "published" if folder.finished() else "not finished"
        whole = "every file that is there is as it was written"
        console.say(f"{'check':<13}{state}; {whole if not problems else advice(problems)}")
    if problems:
        raise typer.Exit(int(ExitCode.MISSING))
