"""Workers that may be lost: a child process, or, for units that killed theirs, an actor of Ray."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from pipeline.cluster import cleanup_process
from pipeline.cluster.session_folder import SessionFolder, temporary_base
from pipeline.execution.runs.attempts import stderr_path, stderr_tail
from pipeline.execution.units.replica import IsolatedReplica
from pipeline.execution.units.replica_reports import ReplicaReport, Send
from pipeline.execution.units.stages import Job
from pipeline.execution.units.unit_tasks import commit_unit, encode_unit

#: First of all, for the server looks for modules in the working folder before anywhere else.
_NAMES: Final = "rerank_pipeline.kept"

#: What takes seconds to import, for networks.
_NETWORKS: Final = ("torch", "transformers.modeling_utils")


def prepare_processes(*, network: bool) -> None:
    """Start the server that child processes are forked from, which imports what they need.

    It does so beside this process, so the earlier this is called the sooner the first child is
    ready. Nothing is done where it runs already. It ends with this process.

    Args:
        network: whether they will load one.
    """
    # Asking CUDA itself whether there is a GPU would make it useless in forked processes.
    # https://docs.pytorch.org/docs/stable/notes/cuda.html#environment-variables
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_NAMES, *(_NETWORKS if network else ()), __name__])
    multiprocessing.forkserver.ensure_running()
    _end_with_this_process()


@cache
def _end_with_this_process() -> None:
    """Have the server killed when this process ends, after all children have.

    By itself it would end as well, but only once it has imported everything: until then it would
    keep a CPU busy and the pipes open into which this process wrote, so that whoever reads them
    would wait for seconds after a command that refused its settings.
    """
    Finalize(None, _kill_server, exitpriority=-100)  # below 0: once children were joined


def _kill_server() -> None:
    server: Any = multiprocessing.forkserver._forkserver
    if server._forkserver_pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


class IsolatedProcess:
    """An :class:`~pipeline.execution.isolation.IsolatedWorker` that is a child process.

    It belongs to a session folder, where its standard error goes, so that neither it nor processes
    that the model's code starts outlive this one.

    Args:
        job: the job.
        take: takes the reports that the child sends while it is at work.
    """

    def __init__(self, job: Job, take: Send) -> None:
        self.stderr_tail = ""
        self._job = job
        self._take = take
        self._name = uuid.uuid4().hex
        self._last: ReplicaReport | None = None
        self._child: Any = None
        self._pipe: Connection | None = None
        self._stderr = Path()
        self._folder: SessionFolder | None = None

    def queries(self, number: int) -> int | None:
        """Candidate lists of a unit; None when the child died."""
        counted: int | None = self._call("queries", number)
        return counted

    def attempt(
        self, number: int, *, crashed: Sequence[int], put: bool, limit_s: float
    ) -> pa.Table | None:
        """The status row; None when the child died."""
        done: pa.Table | None = self._call("attempt", number, list(crashed), put, limit_s)
        return done

    def unit(self, number: int) -> pa.Table | None:
        """A unit through every stage as on Ray, with its marks; None when the child died."""
        done: pa.Table | None = self._call("unit", number)
        return done

    def close(self) -> None:
        """End the child, and all that it started."""
        self._end_child()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child = None
            if self._last is not None:
                self._take(replace(self._last, units={}, ended=True))
                self._last = None

    def _call(self, method: str, *arguments: object) -> Any:
        if self._child is None:
            self._start()
        assert self._pipe is not None
        try:
            self._pipe.send((method, arguments))
            while isinstance(answer := self._pipe.recv(), ReplicaReport):
                self._last = answer
                self._take(answer)
            return answer
        except (EOFError, OSError):  # gone, perhaps in the middle of a message
            self.stderr_tail = stderr_tail(str(self._stderr), socket.gethostname())
            self._end_child()
            return None

    def _start(self) -> None:
        if self._folder is None:
            self._folder = SessionFolder(temporary_base())
        self._stderr = Path(self._folder.path, "stderr")
        # Forked from a server without threads, which imports torch once for all children.
        prepare_processes(network=bool(self._job.model.digest))
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        child = context.Process(target=_serve, args=(self._job, self._name, theirs, self._stderr))
        # A termination may come here; a child that was not seen to start ends with its pipe.
        child.start()
        self._child = child
        theirs.close()


def _serve(job: Job, name: str, pipe: Connection, stderr: Path) -> None:
    """The child: answers calls, and sends reports in between, which are of their own class."""
    os.environ[cleanup_process.VARIABLE] = str(stderr.parent)
    with stderr.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w")
    sending = threading.Lock()  # the replica's reports come from a thread of its own

    def send(message: object) -> None:
        with sending:
            pipe.send(message)

    replica = _ProcessReplica(job, send=send, name=name)
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        send(getattr(replica, method)(*arguments))


class _ProcessReplica(IsolatedReplica):
    def unit(self, number: int) -> pa.Table:
        encoded = encode_unit(pa.table({"id": [number]}), job=self.job)
        return commit_unit(self(encoded), job=self.job)


class IsolatedActor:
    """An :class:`~pipeline.execution.isolation.IsolatedWorker` that is an actor of Ray.

    It takes the resources of a replica.

    Args:
        job: the job.
        send: takes its reports, in its process.
    """

    def __init__(self, job: Job, send: Send) -> None:
        self.stderr_tail = ""
        self._job = job
        self._send = send
        self._name = uuid.uuid4().hex
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
                self._stderr = ray.get(self._actor.stderr_place.remote())
            return ray.get(method(self._actor))
        except ray.exceptions.RayActorError:
            self._actor = None
            self.stderr_tail = stderr_tail(*self._stderr)
            return None

    def _start(self) -> Any:
        import ray

        replicas = self._job.config.replicas
        return (
            ray.remote(_ReplicaActor)
            .options(
                num_cpus=replicas.cpus,
                num_gpus=replicas.gpus or None,
                label_selector=replicas.labels or None,
                max_restarts=0,
                max_task_retries=0,
            )
            .remote(self._job, send=self._send, name=self._name)
        )


class _ReplicaActor(IsolatedReplica):
    def stderr_place(self) -> tuple[str, str]:
        """Where its standard error goes: file and host."""
        return stderr_path(), socket.gethostname()
