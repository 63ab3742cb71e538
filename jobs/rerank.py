"""Rerank candidate lists: ``python -m jobs.rerank -c job.yaml``, the same as ``rerank run``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.rerank")

from contextlib import ExitStack
from typing import Annotated

import typer

from jobs.command import (
    AllowCode,
    ConfigFile,
    Limit,
    LogForm,
    LogFormat,
    Overrides,
    PrintConfig,
    Repair,
    allowed,
    command,
    console,
    read_any_job,
    run_job,
    show_config,
)
from pipeline.cluster.job_server import FOLDER_LINE
from pipeline.config import JobConfig, RefreshConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import begin_imports, execute
from pipeline.execution.runs.state import told_of_special_tokens
from pipeline.execution.staged_input import NotStagedError
from pipeline.plurals import counted
from pipeline.reports.forecast_table import entry
from pipeline.staging.making import Staging


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
    log_format: LogFormat = LogForm.TEXT,
) -> None:
    """Rerank candidate lists; run again to resume, or to learn that all is done and whole."""
    with command(log_format):
        job = read_any_job(config, overrides, limit=limit)
        if isinstance(job, RefreshConfig):
            raise ConfigurationError(
                f"{config}: has a section 'refresh', so it is a job of `rerank refresh`; without "
                "that section it is run as it stands"
            )
        if print_config:
            show_config(job)
            return
        if not dry_run:
            begin_imports(job)
        consent = allowed(allow_code)
        if dry_run:
            _show_dry(job, consent)
            return
        with ExitStack() as staying:
            prepared = prepare(job, allow_code=consent, staying=staying)
            show_plan(prepared)
            show_outcome(execute(prepared, repair=repair))


def _show_dry(job: JobConfig, consent: frozenset[str]) -> None:
    """Show the plan of a job, or how the copy would be made that has to be there before."""
    try:
        show_plan(prepare(job, allow_code=consent, stage=False))
    except NotStagedError as missing:
        show_staging(missing.staging)
    console.say("dry run: nothing was scored or written")


def show_staging(staging: Staging) -> None:
    """Say how a copy will be made that is not there yet."""
    for source in staging.sources.all:
        rows = "" if source.rows is None else f", {counted(source.rows, 'row')}"
        console.say(
            f"{source.role:<10} {counted(len(source.files), 'file')}{rows}, {source.format}, "
            f"about {source.size_bytes / 2**20:,.1f} MiB in memory"
        )
    look = staging.look
    if look is None:
        said = "depends on whether the rows of each query stand together; all ids are looked at"
    else:
        said = f"{look.kind}: {look.reason}"
    console.say(f"staging    {said}")
    console.say(f"copy       {staging.folder.path}, not there yet; the run makes it first")


def show_plan(prepared: Prepared) -> None:
    """Say in a few lines what a run reads, scores and writes."""
    plan, model = prepared.plan, prepared.model
    licence = f", licence {model.licence}" if model.licence else ""
    console.say(
        f"model      {model.name} ({model.family}, {model.dtype}, {model.score_scale}{licence})"
    )
    if prepared.staged is not None:
        strategy = prepared.staged.manifest["strategy"]
        made = prepared.staged.seconds
        when = f"made in {made:,.1f} s" if made else "made before"
        console.say(f"staging    {strategy['kind']}: {strategy['reason']}")
        console.say(
            f"copy       {prepared.staged.folder.path}, "
            f"{prepared.staged.size_bytes / 2**20:,.1f} MiB, {when}"
        )
    console.say(
        f"input      {counted(len(prepared.source.files), 'file')}, "
        f"{counted(prepared.source.rows, 'row')}, {prepared.source.columns.layout} layout"
    )
    documents = counted(plan.documents, "document")
    console.say(f"plan       {counted(len(plan.units), 'unit')}, about {documents}")
    most = counted(prepared.size.documents, "document")
    console.say(f"units      up to {most}: {prepared.size.reason}")
    for line in entry("replicas", str(prepared.placement)):
        console.say(line)
    for warning in prepared.placement.warnings:
        console.say(f"warning    {warning}")
    console.say(f"{FOLDER_LINE}{prepared.folder.path}")


def show_outcome(outcome: Outcome) -> None:
    """Say what a run did."""
    manifest = outcome.manifest
    counts = (
        f"{counted(manifest['queries'], 'query')}, {counted(manifest['documents'], 'document')}, "
        f"{manifest['quarantined']:,} quarantined"
    )
    if manifest.get("reused") is not None:
        counts += f", {counted(outcome.reused, 'score')} of an earlier run"
    if outcome.already_finished:
        console.say(f"finished   before; nothing to do ({counts})")
    elif outcome.repaired:
        console.say(f"repaired   {counted(outcome.units_run, 'unit')} scored again ({counts})")
    elif outcome.units_run == 0:
        console.say(f"published  every unit was there already ({counts})")
    else:
        console.say(f"ranked     {counts} in {outcome.seconds:,.1f} s")
    for reason, number in manifest["reasons"].items():
        console.say(f"           {reason}: {number:,}")
    if manifest.get("special_tokens"):
        console.say(f"special    {told_of_special_tokens(manifest['special_tokens'])}")
    console.say(f"output     {outcome.folder}/ranked")


def main() -> None:
    """Entry point of ``python -m jobs.rerank``."""
    run_job(run)
