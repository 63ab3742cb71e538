"""Go on with a run from what stands in its folder: ``rerank resume RUN``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.resume")

from contextlib import ExitStack
from typing import Annotated

import typer

from jobs.command import AllowCode, LogForm, LogFormat, Overrides, Repair, allowed, command, run_job
from jobs.rerank import show_outcome, show_plan
from pipeline.execution.preparation import prepare_again
from pipeline.execution.run import execute
from pipeline.execution.runs.finding import find_run


def resume(
    run: Annotated[str, typer.Argument(help="A run folder, or an output folder with one run.")],
    overrides: Overrides = None,
    repair: Repair = False,
    allow_code: AllowCode = None,
    log_format: LogFormat = LogForm.TEXT,
) -> None:
    """Go on with a run that was interrupted; --set changes what does not change its scores."""
    with command(log_format):
        consent = allowed(allow_code)
        with ExitStack() as staying:
            prepared = prepare_again(
                find_run(run), overrides or [], allow_code=consent, staying=staying
            )
            show_plan(prepared)
            show_outcome(execute(prepared, repair=repair))


def main() -> None:
    """Entry point of ``python -m jobs.resume``."""
    run_job(resume)
