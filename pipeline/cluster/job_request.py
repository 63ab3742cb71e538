"""What a job is sent with: its environment, its command, and paths that exist where it runs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError
from pipeline.plain_text import holds_credentials

#: What a job's environment shows to everybody who may see the dashboard must hold no secret.
_SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|ACCESS_KEY|API_KEY", re.I)

_SHOWN: Final = (
    "a job's environment is shown by Ray's dashboard and logs; give the nodes an instance role, or "
    "set it where they start"
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def job_environment(
    assignments: Sequence[str], *, grace_s: int, local: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment of a job: what was asked for, and nothing else of this process's.

    Args:
        assignments: ``NAME=VALUE``, or ``NAME`` for the value of this environment.
        grace_s: seconds between SIGTERM and SIGKILL when the job is stopped.
        local: this environment.

    Raises:
        ConfigurationError: no name, nothing to copy, or a secret, which Ray would show to others.
    """
    environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(grace_s)}
    for text in assignments:
        name, assigned, value = text.partition("=")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"--env {name}: give NAME=VALUE, or NAME to copy it from here")
        if _SECRET.search(name):
            raise ConfigurationError(
                f"--env: no secret goes there, and {name} is one by its name; {_SHOWN}"
            )
        if not assigned and name not in local:
            raise ConfigurationError(f"--env {name}: not set here; give NAME=VALUE")
        chosen = value if assigned else local[name]
        if holds_credentials(chosen):
            raise ConfigurationError(
                f"--env {name}: its value holds credentials (in a URI, or a token); {_SHOWN}"
            )
        environment[name] = chosen
    return environment


def refuse_paths_of_this_machine(config: JobConfig, *, uploaded: bool) -> None:
    """Refuse relative paths: a job runs elsewhere, in a folder that is removed with it.

    Raises:
        ConfigurationError: a path is relative; those of the input and of a model card may be,
            where a folder is ``uploaded``.
    """
    named = [("output.path", config.output.path)]
    if not uploaded:
        named += [("input.path", path) for path in config.input.path]
        name = config.model.name
        named += [("model.name", name)] if name is not None and name.endswith(".yaml") else []
    for setting, path in named:
        if "://" not in path and not Path(path).is_absolute():
            raise ConfigurationError(
                f"'{setting}': '{path}' is relative, but the job runs on another machine; give a "
                "URI (s3://...) or an absolute path that the nodes share"
            )


def command_line(
    python: str,
    file: str,
    overrides: Sequence[str],
    *,
    command: str = "run",
    night: date | None = None,
    limit: int | None = None,
    allow_code: Collection[str] = (),
) -> str:
    """What the head of the cluster runs, quoted for its shell.

    Args:
        python: the interpreter there.
        file: the job's.
        overrides: ``KEY=VALUE``.
        command: of ``rerank``.
        night: of a refresh.
        limit: queries at most.
        allow_code: modules that may be imported.
    """
    # Not `-m jobs.NAME`, which a folder called jobs in the one that was sent would stand in for.
    words = [python, "-m", "rerank_pipeline", command, "-c", file]
    if night is not None:
        words += ["--date", night.isoformat()]
    for override in overrides:
        words += ["--set", override]
    if limit is not None:
        words += ["--limit", str(limit)]
    for module in sorted(allow_code):
        words += ["--allow-code", module]
    return shlex.join(words)
