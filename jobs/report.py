"""The report of a run as a page: ``rerank report RUN``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.report")

import json
from typing import Annotated, Any

import typer

from jobs.command import command, console, run_job
from pipeline.errors import ConfigurationError
from pipeline.execution.report.contents import contents, gathered, state_of
from pipeline.execution.report.examples_with_texts import with_examples
from pipeline.execution.report.units import units_of
from pipeline.execution.runs.finding import find_run
from pipeline.execution.runs.run_folder import REPORT_PAGE, RunFolder


def report(
    run: Annotated[
        str, typer.Argument(help="A run folder, or an output folder: its only or latest run.")
    ],
    qrels: Annotated[
        str | None,
        typer.Option(
            "--qrels", help="Judgements: measures with intervals, wins and losses by query."
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            "--measure",
            help="With --qrels, as ir-measures writes it, e.g. nDCG@10; repeatable. Queries are "
            "compared by the first.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="An earlier run of the same queries: what changed since."),
    ] = None,
    texts: Annotated[
        bool,
        typer.Option(
            "--texts/--no-texts",
            help="Read the texts of the examples from the run's input, or show ids.",
        ),
    ] = True,
    output: Annotated[
        str | None,
        typer.Option("--output", help="File of the page; default: report.html in the run."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the page shows as JSON; write no page.")
    ] = False,
) -> None:
    """Make a page of a run: what ran, where the time went, what the scores look like."""
    with command():
        if measure and qrels is None:
            raise ConfigurationError("--measure: nothing is measured without --qrels; give both")
        if as_json and output is not None:
            raise ConfigurationError(
                "--json and --output: JSON is printed, and no page is written; give one of them"
            )
        folder = find_run(run)
        data = _data(folder, qrels, measure, compare, texts)
        if as_json:
            typer.echo(json.dumps(data, indent=2))
            return
        path = folder.file(REPORT_PAGE) if output is None else output
        _write(path, data)
        console.say(f"report     {path}")


def _data(
    folder: RunFolder,
    qrels: str | None,
    measures: list[str] | None,
    compare: str | None,
    texts: bool,
) -> dict[str, Any]:
    described, plan = folder.describe(), folder.plan()
    units, last = units_of(folder), folder.report()
    data = contents(
        folder,
        described,
        units,
        last | gathered(folder, described, units),
        state=state_of(folder, last),
        planned=(len(plan.units), plan.documents),
    )
    judged = None
    if qrels is not None:
        from pipeline.execution.report.judged import MEASURES, evaluation_of
        from pipeline.ranking.qrels import read_qrels
        from pipeline.storage.store import read_bytes

        judged = read_qrels(read_bytes(qrels), qrels)
        data["evaluation"] = evaluation_of(folder, judged, measures or MEASURES)
    if compare is not None:
        from pipeline.execution.report.compared import comparison_of

        data["comparison"] = comparison_of(folder, units, find_run(compare))
    return with_examples(data, folder, described, plan, units, judged=judged, read_input=texts)


def _write(path: str, data: dict[str, Any]) -> None:
    from pipeline.reports.page.render import render
    from pipeline.storage.store import absolute, write_whole

    write_whole(absolute(path), render(data).encode("utf-8", "backslashreplace"))


def main() -> None:
    """Entry point of ``python -m jobs.report``."""
    run_job(report)
