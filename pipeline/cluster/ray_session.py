"""Starts or joins Ray for one run, and keeps its own output off the terminal."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from pipeline.cluster.access import answers, refuse_open_cluster, secure_local_ray
from pipeline.cluster.cleanup_process import KEEP
from pipeline.cluster.ray_address import (
    check_reachable,
    cluster_address,
    found_cluster,
    setting_of,
)
from pipeline.cluster.ray_watch import JoinedLook, RayWatch, head_silent_s, local_look
from pipeline.cluster.session_folder import (
    CleanupProcess,
    SessionFolder,
    base_for_sockets,
    temporary_base,
)
from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import (
    ConfigurationError,
    NotFoundError,
    RerankError,
    RunFailedError,
    TerminatedError,
)

#: Ray's folder within the one that is ours.
_RAYS_OWN: Final = "r"

#: Bytes that the path of Ray's longest socket takes below the folder for temporary files.
_BELOW_BASE: Final = len(
    f"/rerank-12345678/{_RAYS_OWN}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
)

#: Ray Data stops a run in which no task finishes for this long; a unit of long documents on a
#: small machine takes far longer than its default of 30 minutes.
_NO_PROGRESS_S = 6 * 3600

#: Ray declares a node dead that answers late because the machine is busy or swaps, and then ends
#: the driver. Where there is only one node, its process shows whether it lives.
_PATIENT: Final = {"health_check_failure_threshold": 1000}

#: Replicas that die in a row before one of them starts (killed for memory, or with their node)
#: before the run gives up. A model that cannot be loaded is reported at once, by its own message.
_DEATHS_AT_START = 4

#: The last line of a traceback, as Ray quotes it.
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*: ")


class RayJob(Protocol):
    """What a session needs to know of a job's configuration."""

    @property
    def ray(self) -> RayConfig:
        """Which Ray, and what its tasks take."""

    @property
    def replicas(self) -> ReplicasConfig:
        """What its actors take."""


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
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        _quiet()
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
    """A Ray of our own in a folder of our own; its logs are kept when it failed."""
    folder = SessionFolder(base_for_sockets(_BELOW_BASE))
    hint = f"; Ray's logs are kept in {folder.path}"
    failed = False
    try:
        watch = RayWatch(
            local_look, hint=hint, on_exit=[on_exit, lambda: folder.say(keep_logs=True)]
        )
        with _watched(watch):
            with _stderr_held_back(folder.path), folder.marking():
                _start(config, folder.path)
            _quiet()
            yield
    except BaseException as error:
        failed = isinstance(error, Exception) and not isinstance(error, TerminatedError)
        raise
    finally:
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
            with _stderr_held_back(temporary_base()):
                _join(head)
            _quiet()
            look.silent_s = head_silent_s()
            watch.limit(look.silent_s)
            yield
    finally:
        cleanup.say(KEEP)
        cleanup.wait()


@contextmanager
def _watched(watch: RayWatch) -> Iterator[None]:
    """Start and use Ray in the body; it is shut down, and where it was lost, that is raised."""
    try:
        yield
    except BaseException as error:
        explained = watch.explained(error)
        if explained is error:
            raise
        raise explained from None
    finally:
        watch.leave()
        shutdown = getattr(sys.modules.get("ray"), "shutdown", None)
        if shutdown is not None:  # its import may have been interrupted
            shutdown()
        watch.stop()


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


@contextmanager
def _stderr_held_back(folder: str) -> Iterator[None]:
    """Keep what Ray's C++ code writes while it starts, and show it only when starting fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile(dir=folder) as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _start(config: RayJob, folder: str) -> None:
    """Start Ray below ``folder``.

    Raises:
        ConfigurationError: Ray refuses the size of its object store.
        RunFailedError: it does not start.
    """
    import ray

    memory = config.ray.object_store_gib
    try:
        ray.init(
            # Without this, Ray would join whatever cluster was started last on this machine.
            address="local",
            num_cpus=_logical_cpus(config),
            num_gpus=None if config.replicas.num_gpus else 0,
            include_dashboard=False,
            object_store_memory=None if memory is None else int(memory * 2**30),
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Ray opens this folder to everybody; the one around it is ours alone.
            _temp_dir=f"{folder}/{_RAYS_OWN}",
            _system_config=_PATIENT,
        )
    except RerankError:
        raise
    except Exception as error:  # Ray raises plain Exception when its processes do not come up
        if isinstance(error, ValueError) and "object store" in str(error).lower():
            raise ConfigurationError(
                f"ray.object_store_gib: Ray refuses {memory or 'its default'} on this machine "
                f"({_first_line(error)})"
            ) from None
        raise RunFailedError(
            f"Ray did not start on this machine ({_first_line(error)}). Where the machine was only "
            f"busy, run the same command again; else see Ray's logs, which are kept in {folder}, "
            "or set ray.mode to in_process"
        ) from None


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise NotFoundError(
            f"ray.address: cannot join the cluster at '{address}' ({error}); start one with "
            "`ray start --head`, or set ray.address to null for a local run. Where the cluster "
            "asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        ) from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _logical_cpus(config: RayJob) -> int:
    """Slots of a local Ray: at least every replica and two tasks, or the run could never start."""
    needed = config.replicas.most * config.replicas.num_cpus + 2 * config.ray.read_cpus
    return max(os.cpu_count() or 1, math.ceil(needed))


def _quiet() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _NO_PROGRESS_S
    context.max_consecutive_actor_init_deaths = _DEATHS_AT_START
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
