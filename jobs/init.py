"""Write a job file that fits an input: ``python -m jobs.init INPUT > job.yaml``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.init")

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from jobs.command import Overrides, command, run_job
from jobs.inspect import MODEL, OUTPUT, Corpus, Input, Queries, job_of
from pipeline.config import JobConfig
from pipeline.errors import InputContractError
from pipeline.inspection.inspect import inspect, with_guessed_columns
from pipeline.inspection.job_file import job_file
from pipeline.plurals import counted
from pipeline.resources import conf_path

#: Candidates that are looked at: what they hold only goes into comments.
_SAMPLE: Final = 2_000

_ORDER: Final = {
    "sorted": "sorted by query_id",
    "grouped": "the rows of each query together",
    "scattered": "rows of queries apart",
}


def init(
    path: Input,
    corpus: Corpus = None,
    queries: Queries = None,
    model: Annotated[str, typer.Option("--model", help="The model card to rerank with.")] = MODEL,
    output: Annotated[str, typer.Option("--output", help="Where runs go.")] = OUTPUT,
    overrides: Overrides = None,
) -> None:
    """Print a complete, commented job file that fits an input; looks at it as `inspect` does."""
    with command():
        given = job_of(path, corpus, queries, model=model, output=output, overrides=overrides)
        job = with_guessed_columns(given)
        facts = inspect(job, sample=_SAMPLE)
        if facts["refusals"]:
            first, *others = (one["message"] for one in facts["refusals"])
            more = f" (and {len(others)} more; see rerank inspect)" if others else ""
            raise InputContractError(f"{first}{more}")
        template = conf_path("rerank.yaml").read_text(encoding="utf-8")
        about = _about(facts, guessed=job.input.columns != given.input.columns)
        sys.stdout.write(job_file(template, _values(job, facts), about))


def _values(job: JobConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """What differs from the template: everything set, and what fits the input."""
    values: dict[str, Any] = {"model.name": job.model.name, "output.path": job.output.path}
    for section, found in job.model_dump(mode="json", exclude_defaults=True).items():
        if isinstance(found, dict):
            values |= {f"{section}.{name}": value for name, value in found.items()}
        else:
            values[section] = found
    return {**values, **facts["settings"]}


def _about(facts: dict[str, Any], *, guessed: bool) -> Iterator[str]:
    """What the comment at the beginning says."""
    found = facts["input"]
    files, rows = counted(found["files"], "file"), counted(found["rows"], "row")
    layout = f"{found['format']}, {found['layout']}, {_ORDER[facts['order']['kind']]}"
    yield f"{files}, {rows}: {layout}"
    counts = [
        f"{'about ' * (facts[name]['source'] == 'sample')}{counted(facts[name]['count'], noun)}"
        for name, noun in (("queries", "query"), ("candidates", "candidate"))
        if facts[name]["count"] is not None
    ]
    yield ", ".join(counts)
    if guessed:
        yield "input.columns was guessed from the names of the columns; see whether it is right"
    units = facts["units"]
    if units["documents"] is not None:
        most = counted(units["documents"], "document")
        yield f"{counted(units['units'], 'unit')} of up to {most}"
    yield from facts["warnings"]


def main() -> None:
    """Entry point of ``python -m jobs.init``."""
    run_job(init)
