"""Look without scoring: the state of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.command import command, console
from pipeline.errors import ExitCode
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import rows
from pipeline.execution.runs.listing import advice
from pipeline.execution.runs.run_folder import RunFolder, find_run
from pipeline.execution.runs.state import lines, run_state
from pipeline.execution.runs.verification import audit

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def status(
    run: Annotated[
        str, typer.Argument(help="A run folder, or an output folder: its only or latest run.")
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="Read every file of the run, and say what is not whole."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is, who drives it, what it quarantined, and what its last session did."""
    with command():
        folder = find_run(run)
        if check:
            _check(folder, as_json)
            return
        state = run_state(folder)
        if as_json:
            typer.echo(json.dumps(state, indent=2))
        else:
            live = () if state["live"] is None else rows(Snapshot.from_dict(state["live"]))
            for heading, text in lines(state, live):
                console.say(f"{heading:<13}{text}")
        if state["problems"]:
            raise typer.Exit(int(ExitCode.MISSING))


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
