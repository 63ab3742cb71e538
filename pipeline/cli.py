"""The ``rerank`` command: the commands are imported where it can tell what fails in that."""

from __future__ import annotations

from typing import Any, NoReturn

from jobs.ending import run_process


def main() -> NoReturn:
    """Entry point of the console script; leaves with a code of docs/commands.md."""

    def run() -> None:
        from jobs.command import run_app
        from pipeline.commands import app

        run_app(app)

    run_process(run)


def __getattr__(name: str) -> Any:
    if name == "app":
        from pipeline.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
