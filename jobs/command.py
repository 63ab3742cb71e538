"""What every command shares: options, the job file, logging, and errors as exit codes."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import BaseModel

from jobs.ending import LOG_FORMAT, LOG_FORMAT_VARIABLE, guarded, told
from pipeline.config import JobConfig, RefreshConfig, load_config, to_yaml
from pipeline.engine.families import with_settings
from pipeline.errors import ConfigurationError
from pipeline.reports.log_lines import log_to
from pipeline.reports.terminal import Terminal

T = TypeVar("T", bound=BaseModel)


class LogForm(StrEnum):
    """What a command writes to standard error."""

    TEXT = "text"
    JSON = "json"


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
Repair = Annotated[
    bool,
    typer.Option("--repair", help="Make anew what is missing or damaged in the run's folder."),
]
AllowCode = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        metavar="MODULE",
        help="Allow model.family to import this module of yours; repeatable. Also "
        "RERANK_ALLOW_CODE=MODULE,MODULE. Never taken from a configuration.",
    ),
]
Date = Annotated[
    datetime | None,
    typer.Option(
        "--date",
        metavar="YYYY-MM-DD",
        formats=["%Y-%m-%d"],
        help="The night that a refresh is of; default: today, by UTC.",
    ),
]
LogFormat = Annotated[
    LogForm,
    typer.Option(
        LOG_FORMAT,
        envvar=LOG_FORMAT_VARIABLE,
        help="What standard error is: text, or json with one object a line, progress among them.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N queries.")]

#: A job file has a few kilobytes; what is larger is something else.
_LARGEST_FILE: Final = 256 * 2**10

console = Terminal()


@contextmanager
def command(form: LogForm = LogForm.TEXT) -> Iterator[None]:
    """Run the body of a command; what it raises becomes one message and its exit code.

    Args:
        form: of what it writes to standard error.
    """
    _log_to_stderr(form)
    try:
        yield
    except typer.Exit:
        raise
    except BaseException as error:
        raise typer.Exit(told(error)) from None


def run_job(function: Callable[..., Any]) -> None:
    """Entry point of ``python -m jobs.NAME``: the command line of one job."""
    run_app(app_of(function))


def app_of(function: Callable[..., Any]) -> typer.Typer:
    """A job's function as a command line of its own."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(function)
    return app


def run_app(app: typer.Typer) -> None:
    """Parse the command line, run it, and leave with the exit code that it ends with."""
    guarded(lambda: _exit_with(typer.main.get_command(app).main(standalone_mode=False)))


def read_config(
    model: type[T], file: Path | None, overrides: list[str] | None, *, limit: int | None = None
) -> T:
    """The job of a command line.

    Raises:
        ConfigurationError: the file is missing, or a setting is wrong.
    """
    assignments = [*(overrides or []), *([f"limit={limit}"] if limit is not None else [])]
    opened = partial(with_settings, kind=model) if issubclass(model, JobConfig) else None
    text, source = (None, "") if file is None else (_text(file), str(file))
    return load_config(model, text, source=source, overrides=assignments, opened=opened)


def read_any_job(
    file: Path | None,
    overrides: list[str] | None,
    *,
    limit: int | None = None,
    date: datetime | None = None,
) -> JobConfig:
    """The job of a command line that takes refreshes as well: those have a section ``refresh``.

    Args:
        file: the job.
        overrides: of ``--set``.
        limit: of ``--limit``.
        date: of ``--date``, which only a refresh has.

    Raises:
        ConfigurationError: see :func:`read_config`; or there is a date, and the job is no refresh.
    """
    job = read_config(RefreshConfig, file, overrides, limit=limit)
    if "refresh" in job.model_fields_set:
        return job
    if date is not None:
        raise ConfigurationError(
            f"--date: only a refresh has a night; {file or 'this job'} has no section 'refresh'"
        )
    return read_config(JobConfig, file, overrides, limit=limit)


def night_of(given: datetime | None) -> date:
    """The night that ``--date`` names; today, by UTC, where it was not given."""
    return (datetime.now(UTC) if given is None else given).date()


def allowed(modules: list[str] | None) -> frozenset[str]:
    """The modules that the options and the environment of a command allow to be imported.

    Raises:
        ConfigurationError: one of them is no name of a module.
    """
    from pipeline.engine.families import allowed_code

    return allowed_code(modules or [], os.environ)


def show_config(config: BaseModel) -> None:
    """Print a resolved configuration as YAML."""
    if sys.stdout is not None:
        sys.stdout.write(to_yaml(config))


def _exit_with(code: object) -> None:
    if isinstance(code, int) and code:
        raise typer.Exit(code)


def _text(file: Path) -> str:
    """Content of a job file.

    Raises:
        ConfigurationError: it is no file that can be read, is too large, or is not UTF-8.
    """
    name = f"--config {file}"
    try:
        data = _bytes(file, name)
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror}") from None
    except ValueError as error:  # a NUL byte in the name
        raise ConfigurationError(f"{name}: {error}") from None
    if len(data) > _LARGEST_FILE:
        raise ConfigurationError(
            f"{name}: larger than {_LARGEST_FILE // 2**10} KiB; expected the YAML of a job"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{name}: not UTF-8 (byte {error.start}); save the file as UTF-8"
        ) from None


def _bytes(file: Path, name: str) -> bytes:
    """At most one byte more than is accepted."""
    given = file.as_posix().startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/"))
    kind = file.stat().st_mode
    if stat.S_ISDIR(kind):
        raise ConfigurationError(f"{name}: is a folder; give the YAML file of a job")
    if not stat.S_ISREG(kind) and not given:  # opening a pipe waits for somebody to write to it
        raise ConfigurationError(f"{name}: is no regular file; give a file, or /dev/stdin")
    with file.open("rb") as opened:
        return opened.read(_LARGEST_FILE + 1)


def _log_to_stderr(form: LogForm) -> None:
    """Our own log lines; libraries' chatter keeps to Python's default of warnings and worse."""
    stream = sys.stderr if sys.stderr is not None else open(os.devnull, "w")  # noqa: PTH123, SIM115
    log_to(stream, as_json=form is LogForm.JSON)
