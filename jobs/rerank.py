"""Rerank candidate lists: ``python -m jobs.rerank -c job.yaml``, the same as ``rerank run``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.rerank")

from typing import Annotated

import typer

from jobs.command import (
    AllowCode,
    ConfigFile,
    Limit,
    Overrides,
    PrintConfig,
    Repair,
    allowed,
    command,
    console,
    read_config,
    run_job,
    show_config,
)
from pipeline.cluster.job_server import FOLDER_LINE
from pipeline.config import JobConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import begin_imports, execute


def run(
    config: ConfigFile = None,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, score nothing.")
    ] = False,
    limit: Limit = None,
    repair: Repair = False,
    allow_code: AllowCode = None,
) -> None:
    """Rerank candidate lists; run again to resume, or to learn that all is done and whole."""
    with command():
        job = read_config(JobConfig, config, overrides, limit=limit)
        if print_config:
            show_config(job)
            return
        if not dry_run:
            begin_imports(job)
        prepared = prepare(job, allow_code=allowed(allow_code))
        show_plan(prepared)
        if dry_run:
            console.say("dry run: nothing was scored or written")
            return
        show_outcome(execute(prepared, repair=repair))


def show_plan(prepared: Prepared) -> None:
    """Say in a few lines what a run reads, scores and writes."""
    plan, model = prepared.plan, prepared.model
    files = len(prepared.source.files)
    licence = f", licence {model.licence}" if model.licence else ""
    console.say(
        f"model      {model.name} ({model.family}, {model.dtype}, {model.score_scale}{licence})"
    )
    console.say(
        f"input      {files} file{'s' * (files != 1)}, {prepared.source.rows:,} rows, "
        f"{prepared.source.columns.layout} layout"
    )
    console.say(f"plan       {len(plan.units)} units, about {plan.documents:,} documents")
    console.say(f"units      up to {prepared.size.documents:,} documents: {prepared.size.reason}")
    console.say(f"{FOLDER_LINE}{prepared.folder.path}")


def show_outcome(outcome: Outcome) -> None:
    """Say what a run did."""
    manifest = outcome.manifest
    counts = (
        f"{manifest['queries']:,} queries, {manifest['documents']:,} documents, "
        f"{manifest['quarantined']:,} quarantined"
    )
    if outcome.already_finished:
        console.say(f"finished   before; nothing to do ({counts})")
    elif outcome.repaired:
        console.say(f"repaired   {outcome.units_run} units scored again ({counts})")
    elif outcome.units_run == 0:
        console.say(f"published  every unit was there already ({counts})")
    else:
        console.say(f"ranked     {counts} in {outcome.seconds:,.1f} s")
    for reason, number in manifest["reasons"].items():
        console.say(f"           {reason}: {number:,}")
    console.say(f"output     {outcome.folder}/ranked")


def main() -> None:
    """Entry point of ``python -m jobs.rerank``."""
    run_job(run)
