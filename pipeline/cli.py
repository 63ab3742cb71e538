"""The ``rerank`` command. Each subcommand is a job's function; heavy imports happen inside them."""

from __future__ import annotations

from typing import Annotated

import typer

import pipeline
from jobs import demo, evaluate, rerank, views

app = typer.Typer(
    name="rerank",
    help="Rerank candidate lists offline: Parquet in, ranked and scored Parquet out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("run")(rerank.run)
app.command("plan")(views.plan)
app.command("status")(views.status)
app.command("evaluate")(evaluate.evaluate_run)
app.command("models")(views.models)


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"rerank-pipeline {pipeline.__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    app()
