"""Send a job to a Ray cluster and follow it: ``rerank submit -c job.yaml --address URL``.

The same by hand: ``ray job submit --working-dir . -- rerank run -c job.yaml``, and ``rerank
refresh`` for a job that has a section ``refresh``.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import (
    AllowCode,
    Date,
    Limit,
    Overrides,
    allowed,
    command,
    console,
    night_of,
    read_any_job,
)
from pipeline.cluster.job_request import (
    command_line,
    job_environment,
    refuse_paths_of_this_machine,
)
from pipeline.cluster.job_server import JobEnd, JobLog, JobServer
from pipeline.cluster.job_server_access import check_job_server
from pipeline.config import RefreshConfig
from pipeline.engine.families import module_of
from pipeline.errors import ConfigurationError, ExitCode, RunFailedError
from pipeline.execution.runs.publication import check_published
from pipeline.plain_text import holds_credentials, redacted, visible, without_colours

_SECOND_CHANCE_S = 3


def submit(
    config: Annotated[
        Path, typer.Option("-c", "--config", metavar="FILE", help="The job as YAML.")
    ],
    address: Annotated[
        str,
        typer.Option(
            "--address",
            envvar="RAY_API_SERVER_ADDRESS",
            help="The cluster's job server, http://HOST:8265.",
        ),
    ],
    overrides: Overrides = None,
    limit: Limit = None,
    date: Date = None,
    allow_code: AllowCode = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            "--working-dir",
            metavar="DIR",
            help="A folder to run in, uploaded without what .gitignore names; the job file lies in "
            "it. Default: the job file alone, for nodes that have this package.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME[=VALUE]",
            help="An environment variable of driver and workers; without a value, the one of this "
            "shell. Secrets are refused. Repeatable.",
        ),
    ] = None,
    grace: Annotated[
        int,
        typer.Option("--grace", min=1, help="Seconds that a stopped job gets to finish its units."),
    ] = 60,
    plain_http: Annotated[
        bool,
        typer.Option(
            "--plain-http",
            help="Send the cluster's token unencrypted to another machine, where --address is "
            "http:// and the network is private to the cluster.",
        ),
    ] = False,
    python: Annotated[
        str, typer.Option("--python", help="The Python of the cluster that runs the job.")
    ] = "python",
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job until it ends, or only send.")
    ] = True,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Look at the output before calling the job a success, or trust its exit code.",
        ),
    ] = True,
) -> None:
    """Send a job, or a refresh, to a Ray cluster, follow it, and return its exit code."""
    with command():
        if holds_credentials(address):
            raise ConfigurationError(
                "--address: the URI holds credentials; a cluster's token comes from "
                "RAY_AUTH_TOKEN_PATH, with RAY_AUTH_MODE=token"
            )
        job = read_any_job(config, overrides, limit=limit, date=date)
        refreshes = isinstance(job, RefreshConfig)
        refuse_paths_of_this_machine(job, uploaded=working_dir is not None)
        consent = allowed(allow_code)
        if job.model.family is not None:
            module_of(job.model.family, consent)  # as the job will ask, but before it is sent
        environment = job_environment(env or [], grace_s=grace)
        with _folder(config, working_dir) as (folder, file):
            check_job_server(address, insecure=job.ray.insecure_cluster, plain_http=plain_http)
            server = JobServer.connect(address)
            entrypoint = command_line(
                python,
                file,
                overrides or [],
                command="refresh" if refreshes else "run",
                night=night_of(date) if refreshes else None,  # as of now, however long it waits
                limit=limit,
                allow_code=consent,
            )
            name = server.submit(entrypoint, working_dir=folder, environment=environment)
        console.say(f"job        {name}")
        if not wait:
            console.say(f"follow     ray job logs --address {address} --follow {name}")
            return
        end = _follow(server, name)
        console.say(f"ended      {end.status}, exit code {end.code}")
        if end.code:
            if end.exit_code is None and end.status != "STOPPED":
                raise RunFailedError(f"the job never ran: {end.message}")
            raise typer.Exit(end.code)
        if verify:
            console.say(f"published  {check_published(end).path}")


@contextmanager
def _folder(config: Path, working_dir: Path | None) -> Iterator[tuple[str, str]]:
    """What to upload, and the job file's place in it."""
    if working_dir is not None:
        try:
            inside = config.resolve().relative_to(working_dir.resolve())
        except ValueError:
            raise ConfigurationError(
                f"--working-dir {working_dir}: the job file {config} does not lie in it"
            ) from None
        yield str(working_dir), str(inside)
        return
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copy(config, temporary)
        yield temporary, config.name


def _follow(server: JobServer, job: str) -> JobEnd:
    """Show a job's output until it ends; Ctrl-C stops it, a second one leaves it running."""
    log = JobLog()
    try:
        return server.follow(job, _write, log)
    except KeyboardInterrupt:
        with _interrupts_noted() as again:
            console.say()
            console.say(f"stopping   {job} in {_SECOND_CHANCE_S} s; Ctrl-C again leaves it running")
            again.wait(_SECOND_CHANCE_S)
    if again.is_set():
        console.say(f"left       {job} goes on; `ray job stop {job}` stops it")
        raise typer.Exit(int(ExitCode.INTERRUPTED))
    server.stop(job)
    end = server.follow(job, _write, log)
    console.say(f"ended      {end.status}; submit the same job again to resume")
    raise typer.Exit(int(ExitCode.INTERRUPTED))


@contextmanager
def _interrupts_noted() -> Iterator[threading.Event]:
    """Ctrl-C sets an event; as an exception it could come up, and be lost, anywhere."""
    noted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: noted.set())
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: str) -> None:
    """Pass on what the job prints, which comes from another machine."""
    if sys.stdout is not None:
        sys.stdout.write(visible(redacted(without_colours(text)), keep="\n\t"))
        sys.stdout.flush()
