"""A connection to Ray for one run: started or joined, watched, and shut down."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from pipeline.cluster.access import answers, refuse_open_cluster, secure_local_ray
from pipeline.cluster.cleanup_process import KEEP
from pipeline.cluster.ray_address import (
    check_reachable,
    cluster_address,
    found_cluster,
    setting_of,
)
from pipeline.cluster.ray_looks import JoinedLook, LocalLook, head_silent_s
from pipeline.cluster.ray_start import (
    BELOW_BASE,
    RayJob,
    RayTooSlowError,
    hooked,
    join,
    quiet,
    start,
    stderr_held_back,
)
from pipeline.cluster.ray_threads import wait_for_ray_data
from pipeline.cluster.ray_watch import LOCAL_LOOK_S, RayWatch
from pipeline.cluster.session_folder import (
    CleanupProcess,
    SessionFolder,
    base_for_sockets,
    temporary_base,
)
from pipeline.errors import (
    RunFailedError,
    TerminatedError,
)

logger = logging.getLogger("pipeline")

#: Starts of Ray before it is given up: on a busy machine its processes may take longer to load than
#: Ray waits for them.
STARTS: Final = 3

#: Seconds that threads of Ray Data may take before Ray is shut down: a fetch that has begun, or a
#: step of the executor on a busy machine. What waits for a Ray that is lost does not end by itself.
_PATIENCE_S: Final = 15.0
_LOST_S: Final = 1.0

#: The watch over this process's Ray, while there is one; at most one entry.
_WATCHING: Final[list[RayWatch]] = []

#: What Ray prints, five lines each, of workers that die and are replaced: runs say it of a unit in
#: a line of their own, and count it. What it says of memory and of nodes is shown.
TOLD_BY_US: Final = "A worker died or was killed while executing a task|so the task will be retried"

#: The last line of a traceback, as Ray quotes it.
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*: ")


@contextmanager
def ray_session(config: RayJob, *, on_exit: Callable[[], None] | None = None) -> Iterator[None]:
    """A connection to Ray for one run; a local Ray is shut down afterwards, a joined one left.

    A run inside a Ray job joins the cluster of that job, whose address is in the environment.
    Nothing of a local Ray outlives this process, however it ends.

    Args:
        config: the job.
        on_exit: releases what this process holds, before it is ended by ``os._exit`` because Ray is
            lost and blocks the main thread.

    Raises:
        NotFoundError: the cluster at ``ray.address`` cannot be reached.
        ConfigurationError: the cluster needs no token, or the address is not one.
        RunFailedError: Ray does not start, or is lost while the body runs.
    """
    # Read by Ray's C++ code when it starts; errors of ours come back as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", TOLD_BY_US)
    # A thread that comes late would start another Ray, which nobody would end.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    # Ray Data has a thread for this that never ends, and asks a Prometheus that is not there.
    os.environ.setdefault("RAY_DATA_USAGE_DISABLED", "1")
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        quiet()
        with _also_called(on_exit):
            yield
        return
    address = cluster_address(config.ray)
    if address is None:
        secure_local_ray(insecure=config.ray.insecure_cluster)
        with _local(config, on_exit):
            yield
    else:
        with _joined(address, config, on_exit):
            yield


@contextmanager
def _local(config: RayJob, on_exit: Callable[[], None] | None) -> Iterator[None]:
    """A Ray of our own, started again where its processes were too slow to come up."""
    with ExitStack() as staying:
        for left in reversed(range(STARTS)):
            try:
                staying.enter_context(_started(config, on_exit))
                break
            except RayTooSlowError:
                if not left:
                    raise
                logger.warning("Ray's processes did not come up in time; they are started again")
        yield


@contextmanager
def _started(config: RayJob, on_exit: Callable[[], None] | None) -> Iterator[None]:
    """A Ray in a folder of its own; its logs are kept when it failed."""
    folder = SessionFolder(base_for_sockets(BELOW_BASE))
    hint = f"; Ray's logs are kept in {folder.path}"
    look = LocalLook()
    watch, failed = None, False
    try:
        watch = RayWatch(
            look,
            hint=hint,
            look_s=LOCAL_LOOK_S,
            pause=look.pause,
            sudden=lambda: look.sudden,
            on_exit=[on_exit, lambda: folder.say(keep_logs=True)],
        )
        with _watched(watch):
            with stderr_held_back(folder.path), folder.marking(), hooked():
                start(config, folder.path)
            look.up = True
            quiet()
            yield
    except BaseException as error:
        failed = isinstance(error, Exception) and not isinstance(error, TerminatedError)
        lost = watch is not None and watch.lost is not None
        if lost and not look.up and isinstance(error, RunFailedError):
            # A raylet gives its own helpers 30 seconds, and dies where they need longer.
            raise RayTooSlowError(str(error)) from None
        raise
    finally:
        look.close()
        folder.close(keep_logs=failed)


@contextmanager
def _joined(address: str, config: RayJob, on_exit: Callable[[], None] | None) -> Iterator[None]:
    """A cluster that stays up afterwards, once its access control was checked."""
    head = found_cluster() if address == "auto" else address
    check_reachable(head, setting_of(config.ray))
    refuse_open_cluster(head, insecure=config.ray.insecure_cluster)
    cleanup = CleanupProcess()
    try:
        look = JoinedLook(head, answers)
        watch = RayWatch(look, hint="", on_exit=[on_exit, lambda: cleanup.say(KEEP)])
        with _watched(watch):
            with stderr_held_back(temporary_base()):
                join(head)
            quiet()
            look.silent_s = head_silent_s()
            watch.limit(look.silent_s)
            yield
    finally:
        cleanup.say(KEEP)
        cleanup.wait()


@contextmanager
def _also_called(on_exit: Callable[[], None] | None) -> Iterator[None]:
    """Have the watch over a Ray that was started or joined before call this, too."""
    calls = [watch.on_exit for watch in _WATCHING]
    for called in calls:
        called.append(on_exit)
    try:
        yield
    finally:
        for called in calls:
            called.remove(on_exit)


@contextmanager
def _watched(watch: RayWatch) -> Iterator[None]:
    """Start and use Ray in the body; it is shut down, and where it was lost, that is raised."""
    _WATCHING.append(watch)
    try:
        yield
    except BaseException as error:
        explained = watch.explained(error)
        if explained is error:
            raise
        raise explained from None
    finally:
        _WATCHING.remove(watch)
        watch.leave()
        with _undisturbed():
            shutdown = getattr(sys.modules.get("ray"), "shutdown", None)
            if shutdown is not None:  # its import may have been interrupted
                wait_for_ray_data(_LOST_S if watch.lost else min(_PATIENCE_S, watch.leave_s / 2))
                shutdown()
            watch.stop()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off SIGALRM until the body is through: its handler raises when a grace period is over.

    See :mod:`pipeline.execution.termination`. Half a shutdown leaves threads that use a Ray whose
    processes are ended next, which ends this one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, previous)
        if came:
            signal.raise_signal(signal.SIGALRM)


def explain(error: Exception) -> RunFailedError:
    """What Ray raised when a worker failed, in one line that a person can act on."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [
        line for line in lines if _EXCEPTION.match(line) and not line.startswith("ray.exceptions.")
    ]
    cause = named[-1] if named else next((line for line in lines if line), type(error).__name__)
    return RunFailedError(
        f"a worker failed: {cause}. Committed units are kept: run the same command again to "
        f"resume; the worker's log is in {_logs()}"
    )


def _logs() -> str:
    """The folder with the logs of Ray's processes on this node."""
    node = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
    return "Ray's session folder" if node is None else str(node.get_logs_dir_path())
