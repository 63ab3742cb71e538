"""Sends a job to a Ray cluster, follows it, and stops it.

Ray's own ``ray job submit`` returns 0 for a job that was stopped and 1 for any failure; here the
exit code is that of the job's own command.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pipeline.errors import ConfigurationError, ExitCode, NotFoundError, RunFailedError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

Write = Callable[[str], Any]

#: How often a lost connection to the job server is opened again without new output.
_RECONNECTIONS: Final = 10

#: Beginning of the line in which a run names its folder (see jobs/rerank.py).
FOLDER_LINE: Final = "run        "
_FOLDER: Final = re.compile(rf"^{FOLDER_LINE}(\S.*?)\s*$", re.M)


@dataclass(frozen=True, kw_only=True)
class JobEnd:
    """How a job ended.

    Attributes:
        status: SUCCEEDED, FAILED or STOPPED, as Ray reports it.
        exit_code: of the command; None where it did not get to return one.
        message: Ray's explanation.
        folder: the run's path, as its log says; None where it says nothing.
    """

    status: str
    exit_code: int | None
    message: str
    folder: str | None

    @property
    def code(self) -> int:
        """What the job's own command returned, as a shell would say it."""
        if self.status == "STOPPED":
            return int(ExitCode.TERMINATED)
        if self.exit_code is None:
            return int(ExitCode.OK if self.status == "SUCCEEDED" else ExitCode.FAILED)
        return 128 - self.exit_code if self.exit_code < 0 else self.exit_code


class JobServer:
    """The job server of a cluster."""

    def __init__(self, client: JobSubmissionClient) -> None:
        self.client = client

    @classmethod
    def connect(cls, url: str) -> JobServer:
        """Talk to the server at ``url``.

        Raises:
            ConfigurationError: Ray's cluster parts are missing here, or it refuses our token.
            NotFoundError: it does not answer.
        """
        from ray.exceptions import AuthenticationError

        try:
            client = _client(url)
            client.get_version()  # the first request, which is where a token is refused
            return cls(client)
        except (RuntimeError, AuthenticationError) as error:
            text = str(error)
            if "ray[default]" in text:
                raise ConfigurationError(
                    "rerank submit needs Ray's job client: pip install 'rerank-pipeline[cluster]'"
                ) from None
            if "uthenti" in text:
                raise ConfigurationError(
                    f"--address {url}: the cluster refuses this machine's token. Set "
                    "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's "
                    f"token ({text.splitlines()[0]})"
                ) from None
            raise NotFoundError(f"--address {url}: {text}") from None
        except ConnectionError as error:
            raise NotFoundError(f"--address {url}: {error}") from None

    def submit(self, entrypoint: str, *, working_dir: str, environment: dict[str, str]) -> str:
        """Upload a folder and start a command in it; returns the job's id.

        Raises:
            RunFailedError: the server does not take the job.
        """
        try:
            return self.client.submit_job(
                entrypoint=entrypoint,
                runtime_env={"working_dir": working_dir, "env_vars": environment},
            )
        except (RuntimeError, ValueError) as error:
            raise RunFailedError(f"the job was not taken: {error}") from None

    def stop(self, job: str) -> None:
        """Ask a job to stop: SIGTERM, and SIGKILL after its grace."""
        self.client.stop_job(job)

    def follow(self, job: str, write: Write, log: JobLog) -> JobEnd:
        """Pass a job's output on until it ends.

        Args:
            job: its id.
            write: takes the output, piece by piece.
            log: what was passed on already; an interrupted call goes on with the same one.

        Raises:
            NotFoundError: the server stopped answering; the job may well go on.
        """
        failures = 0
        while True:
            before = log.length
            try:
                asyncio.run(log.tail(self.client, job, write))
                details = self.client.get_job_info(job)
                if details.status.is_terminal():
                    break
            except (RuntimeError, OSError) as error:  # every loss of the connection is one of these
                failures = 1 if log.length > before else failures + 1
                if failures > _RECONNECTIONS:
                    raise NotFoundError(
                        f"lost contact with the job server ({error}); job {job} may go on: see "
                        f"`ray job status {job}`"
                    ) from None
            time.sleep(min(2 ** max(failures - 1, 0), 30))
        return JobEnd(
            status=str(details.status),
            exit_code=details.driver_exit_code,
            message=details.message or "",
            folder=log.folder,
        )


def _client(url: str) -> JobSubmissionClient:
    """Ray's client, but one that follows no redirect: neither token nor code goes on elsewhere."""
    from ray.job_submission import JobSubmissionClient

    class Direct(JobSubmissionClient):
        def _do_request(self, method: str, endpoint: str, **more: Any) -> Any:
            reply = super()._do_request(method, endpoint, allow_redirects=False, **more)
            if reply.is_redirect:
                raise RuntimeError(
                    f"the job server sends us on to {reply.headers['Location']!r}; give its own "
                    "address"
                )
            return reply

    return Direct(url)


class JobLog:
    """A job's output as far as it was passed on; each connection sends it from the beginning."""

    def __init__(self) -> None:
        self.length = 0
        self.folder: str | None = None
        self._line = ""

    async def tail(self, client: JobSubmissionClient, job: str, write: Write) -> None:
        """Pass on what is new until the job ends or the connection does."""
        seen = 0
        async with aclosing(cast("AsyncGenerator[str]", client.tail_job_logs(job))) as pieces:
            async for text in pieces:
                new = text[max(self.length - seen, 0) :]
                seen += len(text)
                if new:
                    self.length += len(new)
                    self._look(new)
                    write(new)

    def _look(self, text: str) -> None:
        """Note the run's folder when its line has come in whole."""
        if self.folder is not None:
            return
        whole, newline, self._line = (self._line + text).rpartition("\n")
        match = _FOLDER.search(whole + newline)
        self.folder = match[1] if match else None
