"""The commands of ``rerank``: each is a job's function, imported when it is asked for.

All of them together take a second of CPU time to import, which every look at a run would pay for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

import pipeline
from jobs.command import app_of
from pipeline.build_info import version_lines
from pipeline.reports.terminal import Terminal

#: Where each command is, as ``MODULE:NAME``, in the order in which ``rerank --help`` lists them.
COMMANDS: Final = {
    "demo": "jobs.demo:demo",
    "inspect": "jobs.inspect:inspect_input",
    "init": "jobs.init:init",
    "doctor": "jobs.doctor:doctor",
    "run": "jobs.rerank:run",
    "refresh": "jobs.refresh:refresh_lists",
    "submit": "jobs.submit:submit",
    "plan": "jobs.plan:plan",
    "status": "jobs.views:status",
    "report": "jobs.report:report",
    "resume": "jobs.resume:resume",
    "latest": "jobs.latest:latest",
    "rollback": "jobs.rollback:rollback_publication",
    "feed": "jobs.feed:feed",
    "gc": "jobs.gc:gc",
    "evaluate": "jobs.evaluate:evaluate_run",
    "compare": "jobs.compare:compare",
    "calibrate": "jobs.calibrate:calibrate",
    "diff": "jobs.diff:diff",
    "distill": "jobs.distill:distill_runs",
    "export": "jobs.export:export",
    "bench": "jobs.bench:bench",
    "verify": "jobs.verify:verify_model",
    "models": "jobs.models:app",
}


class _Imported(Mapping[str, Any]):
    """The commands by name, each imported at the first look at it; their names need no import."""

    def __getitem__(self, name: str) -> Any:
        return _command(name, COMMANDS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _command(name: str, place: str) -> Any:
    module, _, inside = place.partition(":")
    found = getattr(import_module(module), inside)
    command = typer.main.get_command(found if isinstance(found, typer.Typer) else app_of(found))
    command.name = name
    return command


class _Group(TyperGroup):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Imported()

    def list_commands(self, ctx: Any) -> list[str]:
        """Names alone, so that completing one imports only those that fit."""
        return list(self.commands)


app = typer.Typer(
    cls=_Group,
    name="rerank",
    help="Rerank candidate lists offline: Parquet in, ranked and scored Parquet out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
