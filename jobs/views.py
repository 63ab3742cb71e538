"""Look without scoring: the plan of a job, the state of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from jobs.command import (
    AllowCode,
    ConfigFile,
    Date,
    Limit,
    Overrides,
    allowed,
    command,
    console,
    night_of,
    read_any_job,
)
from jobs.refresh import show_reuse
from jobs.rerank import show_plan, show_staging
from pipeline.config import RefreshConfig
from pipeline.errors import ConfigurationError, ExitCode
from pipeline.execution.live.snapshot import Snapshot
from pipeline.execution.live.wording import rows
from pipeline.execution.preparation import prepare
from pipeline.execution.runs.listing import advice
from pipeline.execution.runs.run_folder import RunFolder, find_run
from pipeline.execution.runs.state import lines, run_state
from pipeline.execution.runs.verification import audit
from pipeline.execution.staged_input import NotStagedError
from pipeline.refresh.asked import Night
from pipeline.refresh.night import plan_night
from pipeline.staging.making import Staging

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def plan(
    config: ConfigFile = None,
    overrides: Overrides = None,
    limit: Limit = None,
    date: Date = None,
    as_json: AsJson = False,
    allow_code: AllowCode = None,
) -> None:
    """Show how a job's input is cut into units, which are done, and what a refresh reuses."""
    with command():
        job = read_any_job(config, overrides, limit=limit)
        consent = allowed(allow_code)
        if date is not None and not isinstance(job, RefreshConfig):
            raise ConfigurationError("--date: only a refresh has a night; see section 'refresh'")
        try:
            if isinstance(job, RefreshConfig):
                night = Night(config=job, date=night_of(date), allow_code=consent)
                prepared = plan_night(night)
            else:
                prepared = prepare(job, allow_code=consent, stage=False)
        except NotStagedError as missing:
            if as_json:
                typer.echo(json.dumps(described_staging(missing.staging), indent=2))
            else:
                show_staging(missing.staging)
            return
        committed = set(prepared.folder.committed())
        units = [
            {
                "unit": unit.name,
                "start": unit.start,
                "stop": unit.stop,
                "documents": unit.documents,
                "committed": unit.name in committed,
            }
            for unit in prepared.plan.units
        ]
        if as_json:
            described = {"run_id": prepared.plan.run_id, "folder": prepared.folder.path}
            size: dict[str, Any] = {"size": asdict(prepared.size)}
            if prepared.reuse is not None:
                known = prepared.reuse
                size["reuse"] = known.described() | {"why": known.why, "counts": known.counts}
            typer.echo(json.dumps(described | size | {"units": units}, indent=2))
            return
        show_plan(prepared)
        if prepared.reuse is not None:
            show_reuse(prepared.reuse)
        table = Table("unit", "rows", "documents", "state", box=None, pad_edge=False)
        for row in units:
            state = "committed" if row["committed"] else "to do"
            table.add_row(
                str(row["unit"]), f"{row['start']}-{row['stop']}", f"{row['documents']:,}", state
            )
        console.print(table)


def described_staging(staging: Staging) -> dict[str, Any]:
    """The plan of a job whose staged copy is not there yet, as plain data."""
    return {
        "run_id": None,
        "units": [],
        "staging": {
            "folder": staging.folder.path,
            "strategy": None if staging.look is None else asdict(staging.look),
            "sources": [
                {"role": source.role, "format": source.format, "files": len(source.files),
                 "rows": source.rows, "size_bytes": source.size_bytes}
                for source in staging.sources.all
            ],
        },
    }  # fmt: skip


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
