"""What takes the units of a run through their stages: Ray, a worker process, or this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import Any, Protocol

import pyarrow as pa

from pipeline.config import JobConfig
from pipeline.errors import RerankError, RunFailedError
from pipeline.execution.isolation import IsolatedWorker
from pipeline.execution.placement import Place
from pipeline.execution.runs.attempts import MOST
from pipeline.execution.termination import Termination
from pipeline.execution.units.isolated_workers import IsolatedActor, IsolatedProcess
from pipeline.execution.units.replica import Replica
from pipeline.execution.units.replica_reports import Send
from pipeline.execution.units.stages import Job
from pipeline.execution.units.time_limits import last_words
from pipeline.execution.units.unit_tasks import commit_unit, encode_unit


class Workers(Protocol):
    """Takes units through their stages."""

    def rows(self, job: Job) -> Iterator[dict[str, Any]]:
        """One status row per unit of ``job``, in any order, each as soon as it is there."""

    def isolated(self, job: Job) -> IsolatedWorker:
        """A worker for units that kill theirs; to be closed."""


@contextmanager
def open_workers(
    place: Place, config: JobConfig, termination: Termination, take: Send
) -> Iterator[Workers]:
    """The workers of a place, while the body runs.

    Args:
        place: where.
        config: the job.
        termination: of the session.
        take: takes the reports of replicas, in any thread.
    """
    if place != "cluster":
        yield _InProcess(take, termination) if place == "in_process" else _OneProcess(take)
        return
    from pipeline.cluster.ray_session import ray_session

    with ExitStack() as stack:
        try:
            stack.enter_context(ray_session(config, on_exit=termination.on_exit))
        except SystemExit as error:
            if error.code == signal.SIGTERM:  # Ray's own handler, while it was starting
                termination.requested = True
                termination.check()
            raise
        termination.listen()
        yield _OnRay(stack.enter_context(_reports_on_ray(take)))


def _reports_on_ray(take: Send) -> AbstractContextManager[Send]:
    from pipeline.execution.live.ray_reports import reports

    return reports(take)


class _InProcess:
    def __init__(self, take: Send, termination: Termination) -> None:
        self._take = take
        self._termination = termination

    def rows(self, job: Job) -> Iterator[dict[str, Any]]:
        """One unit after the other, in this process."""
        replica = Replica(job, send=self._take)

        def say_and_release() -> None:
            limit_s = job.config.units.time_limit_s
            said = (
                f"error: a unit was at work in this process for longer than units.time_limit_s "
                f"({limit_s:g} s); where it stood is above. Committed units are kept: run the same "
                f"command again to resume. After {MOST} such ends its queries are tried in "
                "processes of their own, as with another ray.mode\n"
            )
            os.write(2, said.encode())
            self._termination.on_exit()

        with closing(replica.reporter), last_words(say_and_release):
            for number in range(len(job.units)):
                encoded = encode_unit(pa.table({"id": [number]}), job=job)
                yield from commit_unit(replica(encoded), job=job).to_pylist()

    def isolated(self, job: Job) -> IsolatedWorker:
        return IsolatedProcess(job, self._take)


class _OneProcess:
    def __init__(self, take: Send) -> None:
        self._take = take

    def rows(self, job: Job) -> Iterator[dict[str, Any]]:
        """One unit after the other, in a child process that is replaced when it dies."""
        with closing(IsolatedProcess(job, self._take)) as worker:
            for number in range(len(job.units)):
                yield from _finished(worker, number).to_pylist()

    def isolated(self, job: Job) -> IsolatedWorker:
        return IsolatedProcess(job, self._take)


def _finished(worker: IsolatedProcess, number: int) -> pa.Table:
    """The status row of a unit, however often its process dies.

    Marks count deaths at work on it, and set it aside in the end.

    Raises:
        RunFailedError: the process dies before it begins.
    """
    for _ in range(MOST + 1):
        done = worker.unit(number)
        if done is not None:
            return done
    raise RunFailedError(
        f"a worker process died {MOST + 1} times before it began a unit. Committed units are kept: "
        f"run the same command again to resume. Last words:\n{worker.stderr_tail or '(none)'}"
    )


class _OnRay:
    def __init__(self, send: Send) -> None:
        self._send = send

    def rows(self, job: Job) -> Iterator[dict[str, Any]]:
        """Rows as soon as their unit is committed; ``iter_rows`` would hold back hundreds."""
        from pipeline.cluster.ray_session import explain
        from pipeline.execution.graph import status_rows

        batches: Any = status_rows(job, self._send).iter_batches(
            batch_size=None, prefetch_batches=0, batch_format="pyarrow"
        )
        with closing(iter(batches)) as coming:
            while True:
                try:
                    batch = next(coming, None)
                except RerankError:
                    raise
                except Exception as error:  # whatever Ray wraps a worker's failure in
                    raise explain(error) from error
                if batch is None:
                    return
                yield from batch.to_pylist()

    def isolated(self, job: Job) -> IsolatedWorker:
        return IsolatedActor(job, self._send)
