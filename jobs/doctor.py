"""Examine this machine before a run: ``python -m jobs.doctor``, the same as ``rerank doctor``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.doctor")

import json
from typing import Annotated

import typer

from jobs.command import ConfigFile, Overrides, command, console, read_any_job, run_job
from pipeline.config import ModelConfig
from pipeline.doctor.examine import Asked, examine
from pipeline.errors import ExitCode
from pipeline.reports.doctor_lines import doctor_summary, doctor_table


def doctor(
    config: ConfigFile = None,
    overrides: Overrides = None,
    output: Annotated[
        str | None,
        typer.Option("--output", help="A folder that runs go to: is it written to, and how well."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="A model card, or the place of a checkpoint.")
    ] = None,
    start_ray: Annotated[
        bool, typer.Option("--start-ray", help="Start a Ray, or join the job's, and end it again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Look at Python, torch, driver, GPUs, Ray, disks, store, clock and weights; say what to do.

    Exit code 4 where something stops a run, else 0.
    """
    with command():
        job = read_any_job(config, overrides) if config is not None or overrides else None
        named = None if model is None else ModelConfig(name=model)
        asked = Asked(job=job, output=output, model=named, start_ray=start_ray)
        findings = [finding.described() for finding in examine(asked)]
        problems = [finding for finding in findings if finding["state"] == "problem"]
        if as_json:
            typer.echo(json.dumps({"sound": not problems, "findings": findings}, indent=2))
        else:
            console.print(doctor_table(findings))
            console.say(doctor_summary(findings))
        if problems:
            raise typer.Exit(int(ExitCode.MISSING))


def main() -> None:
    """Entry point of ``python -m jobs.doctor``."""
    run_job(doctor)
