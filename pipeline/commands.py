"""The commands of ``rerank``: each is a job's function, with heavy imports inside it."""

from __future__ import annotations

from typing import Annotated

import typer

import jobs.bench
import jobs.calibrate
import jobs.compare
import jobs.demo
import jobs.diff
import jobs.distill
import jobs.doctor
import jobs.evaluate
import jobs.export
import jobs.feed
import jobs.gc
import jobs.init
import jobs.inspect
import jobs.latest
import jobs.models
import jobs.plan
import jobs.refresh
import jobs.report
import jobs.rerank
import jobs.resume
import jobs.rollback
import jobs.submit
import jobs.verify
import jobs.views
import pipeline
from pipeline.build_info import version_lines
from pipeline.reports.terminal import Terminal

app = typer.Typer(
    name="rerank",
    help="Rerank candidate lists offline: Parquet in, ranked and scored Parquet out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(jobs.demo.demo)
app.command("inspect")(jobs.inspect.inspect_input)
app.command("init")(jobs.init.init)
app.command("doctor")(jobs.doctor.doctor)
app.command("run")(jobs.rerank.run)
app.command("refresh")(jobs.refresh.refresh_lists)
app.command("submit")(jobs.submit.submit)
app.command("plan")(jobs.plan.plan)
app.command("status")(jobs.views.status)
app.command("report")(jobs.report.report)
app.command("resume")(jobs.resume.resume)
app.command("latest")(jobs.latest.latest)
app.command("rollback")(jobs.rollback.rollback_publication)
app.command("feed")(jobs.feed.feed)
app.command("gc")(jobs.gc.gc)
app.command("evaluate")(jobs.evaluate.evaluate_run)
app.command("compare")(jobs.compare.compare)
app.command("calibrate")(jobs.calibrate.calibrate)
app.command("diff")(jobs.diff.diff)
app.command("distill")(jobs.distill.distill_runs)
app.command("export")(jobs.export.export)
app.command("bench")(jobs.bench.bench)
app.command("verify")(jobs.verify.verify_model)
app.add_typer(jobs.models.app, name="models")


def _show_version(wanted: bool) -> None:
    if wanted:
        console = Terminal()
        for line in version_lines(pipeline.__version__):
            console.say(line)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print versions and build.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass
