"""The ward on Ray: an actor that may be lost, with the resources of a replica."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from pipeline.execution.attempts import last_words, stderr_path
from pipeline.execution.replica import IsolatedReplica
from pipeline.execution.stages import Job


class RayWard:
    """See :class:`pipeline.execution.isolation.Ward`."""

    def __init__(self, job: Job) -> None:
        self.words = ""
        self._job = job
        self._actor: Any = None
        self._stderr = ("", "")

    def queries(self, number: int) -> int | None:
        """Candidate lists of a unit; None when the actor died."""
        counted: int | None = self._call(lambda actor: actor.queries.remote(number))
        return counted

    def attempt(
        self, number: int, *, crashed: Sequence[int], put: bool, limit_s: float
    ) -> pa.Table | None:
        """The status row; None when the actor died."""
        done: pa.Table | None = self._call(
            lambda actor: actor.attempt.remote(number, list(crashed), put, limit_s)
        )
        return done

    def close(self) -> None:
        """Give the actor's resources back."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def _call(self, method: Callable[[Any], Any]) -> Any:
        import ray

        try:
            if self._actor is None:
                self._actor = self._start()
                self._stderr = ray.get(self._actor.place.remote())
            return ray.get(method(self._actor))
        except ray.exceptions.RayActorError:
            self._actor = None
            self.words = last_words(*self._stderr)
            return None

    def _start(self) -> Any:
        import ray

        replicas = self._job.config.replicas
        return (
            ray.remote(_Patient)
            .options(
                num_cpus=replicas.num_cpus,
                num_gpus=replicas.num_gpus or None,
                label_selector=replicas.labels or None,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(self._job)
        )


class _Patient(IsolatedReplica):
    """The actor's class."""

    def place(self) -> tuple[str, str]:
        """Where its standard error goes: file and host."""
        import socket

        return stderr_path(), socket.gethostname()
