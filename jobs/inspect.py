"""Look at an input before a run is paid for: ``python -m jobs.inspect INPUT``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.inspect")

import json
from typing import Annotated, Any, Final

import typer

from jobs.command import Overrides, command, console, run_job
from pipeline.config import JobConfig, load_config
from pipeline.engine.families import with_settings
from pipeline.errors import ExitCode
from pipeline.inspection.inspect import SAMPLE, inspect
from pipeline.plain_text import redacted
from pipeline.reports.inspection import inspection_lines

#: The model of the offline default, for what depends on a model.
MODEL: Final = "all-minilm-l6-v2"

#: Where runs go unless another place is named.
OUTPUT: Final = "out/runs"

Input = Annotated[
    list[str],
    typer.Argument(metavar="INPUT...", help="Files, folders or globs with candidate lists."),
]
Corpus = Annotated[
    list[str] | None, typer.Option("--corpus", help="Documents of candidates that are ids only.")
]
Queries = Annotated[
    list[str] | None, typer.Option("--queries", help="Queries of candidates that are ids only.")
]
Model = Annotated[str, typer.Option("--model", help="The card whose tokens and units are counted.")]


def inspect_input(
    path: Input,
    corpus: Corpus = None,
    queries: Queries = None,
    sample: Annotated[
        int,
        typer.Option("--sample", min=1, help="Candidates that are read where footers do not tell."),
    ] = SAMPLE,
    model: Model = MODEL,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Say what an input is, what a run would refuse or not score, and which settings fit it."""
    with command():
        job = job_of(path, corpus, queries, model=model, output=OUTPUT, overrides=overrides)
        facts = inspect(job, sample=sample)
        if as_json:
            typer.echo(redacted(json.dumps(facts, indent=2, default=str)))
        else:
            for line in inspection_lines(facts):
                console.say(line)
        if not facts["starts"]:
            raise typer.Exit(int(ExitCode.INPUT_CONTRACT))


def job_of(
    path: list[str],
    corpus: list[str] | None,
    queries: list[str] | None,
    *,
    model: str,
    output: str,
    overrides: list[str] | None,
) -> JobConfig:
    """The job of an input that is named on the command line.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    given: dict[str, Any] = {"path": path}
    given |= {"corpus": corpus} if corpus else {}
    given |= {"queries": queries} if queries else {}
    data = {"model": {"name": model}, "input": given, "output": {"path": output}}
    return load_config(JobConfig, data, overrides=overrides or [], opened=with_settings)


def main() -> None:
    """Entry point of ``python -m jobs.inspect``."""
    run_job(inspect_input)
