"""What every command shares: options, logging, and errors as exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console

from pipeline.config import load_config, to_yaml
from pipeline.errors import ConfigurationError, ExitCode, RerankError

T = TypeVar("T", bound=BaseModel)

ConfigFile = Annotated[
    Path | None, typer.Option("-c", "--config", metavar="FILE", help="The job as YAML.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; repeatable."),
]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the resolved configuration and stop.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N queries.")]

console = Console(soft_wrap=True, highlight=False)


@contextmanager
def command() -> Iterator[None]:
    """Run the body of a command; an error of ours becomes one message and its exit code."""
    _log_to_stderr()
    try:
        yield
    except RerankError as error:
        fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to resume", ExitCode.INTERRUPTED)


def fail(message: str, code: ExitCode) -> NoReturn:
    """Say why on standard error, and leave."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"[bold red]error:[/] {_escaped(message)}"
    )
    raise typer.Exit(int(code))


def read_config(
    model: type[T], file: Path | None, overrides: list[str] | None, *, limit: int | None = None
) -> T:
    """The job of a command line.

    Raises:
        ConfigurationError: the file is missing, or a setting is wrong.
    """
    assignments = [*(overrides or []), *([f"limit={limit}"] if limit is not None else [])]
    if file is None:
        return load_config(model, overrides=assignments)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--config {file}: {error.strerror}") from None
    return load_config(model, text, source=str(file), overrides=assignments)


def show_config(config: BaseModel) -> None:
    """Print a resolved configuration as YAML."""
    sys.stdout.write(to_yaml(config))


def _log_to_stderr() -> None:
    """Our own log lines; libraries' chatter keeps to Python's default of warnings and worse."""
    logger = logging.getLogger("pipeline")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
