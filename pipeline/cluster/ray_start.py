"""Starts Ray on this machine or joins a cluster, and keeps Ray's own output off the terminal."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import (
    ConfigurationError,
    NotFoundError,
    RerankError,
    RunFailedError,
)
from pipeline.machine import cpus

logger = logging.getLogger("pipeline")

#: Ray's folder within the one that is ours.
_RAYS_OWN: Final = "r"

#: Bytes that the path of Ray's longest socket takes below the folder for temporary files.
BELOW_BASE: Final = len(
    f"/rerank-12345678/{_RAYS_OWN}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
)

#: Ray Data stops a run in which no task finishes for this long; a unit of long documents on a
#: small machine takes far longer than its default of 30 minutes.
_NO_PROGRESS_S = 6 * 3600

#: How Ray says that its processes took longer than 30 seconds (ray/_private/node.py).
_TOO_SLOW: Final = "timed out during startup"

#: Ray declares a node dead that answers late because the machine is busy or swaps, and then ends
#: the driver. Where there is only one node, its process shows whether it lives.
_PATIENT: Final = {"health_check_failure_threshold": 1000}

#: Replicas on CPU that one task can read, encode and commit for: it takes a tenth of the time that
#: scoring takes with the smallest networks, and less with others.
_REPLICAS_PER_TASK: Final = 8

#: What each worker calls before it takes work: Ray puts the driver's working folder, and one that a
#: job was sent with, in front of its path, and there may be a package called pipeline.
_HOOK: Final = "rerank_pipeline.names.keep_names"

#: The key of a job's runtime environment that names it, and where Ray tells a job its own.
_SETUP: Final = "worker_process_setup_hook"
_JOB: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"

#: Replicas in a row whose constructor raises before the run gives up. A model that cannot be loaded
#: is reported at once, by its own message; those that are killed Ray starts again and again, and
#: pipeline/execution/failing_starts.py counts them.
_DEATHS_AT_START = 4


class RayTooSlowError(RunFailedError):
    """Ray's processes did not come up in the time that Ray gives them; they may next time."""


class RayJob(Protocol):
    """What a session needs to know of a job's configuration."""

    @property
    def ray(self) -> RayConfig:
        """Which Ray, and what its tasks take."""

    @property
    def replicas(self) -> ReplicasConfig:
        """What its actors take."""


@contextmanager
def stderr_held_back(folder: str) -> Iterator[None]:
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


def start(config: RayJob, folder: str) -> None:
    """Start Ray below ``folder``.

    Raises:
        ConfigurationError: Ray refuses the size of its object store, or its metrics' port is taken.
        RayTooSlowError: its processes did not come up in time.
        RunFailedError: it does not start.
    """
    import ray

    memory = config.ray.object_store_gib
    _refuse_taken(config.ray.metrics_port)
    try:
        ray.init(
            # Without this, Ray would join whatever cluster was started last on this machine.
            address="local",
            num_cpus=logical_cpus(config),
            num_gpus=None if config.replicas.num_gpus else 0,
            include_dashboard=False,
            object_store_memory=None if memory is None else int(memory * 2**30),
            log_to_driver=False,
            logging_level=logging.ERROR,
            # Ray opens this folder to everybody; the one around it is ours alone.
            _temp_dir=f"{folder}/{_RAYS_OWN}",
            _system_config=_PATIENT,
            _metrics_export_port=config.ray.metrics_port,
        )
    except RerankError:
        raise
    except Exception as error:  # Ray raises plain Exception when its processes do not come up
        if isinstance(error, ValueError) and "object store" in str(error).lower():
            raise ConfigurationError(
                f"ray.object_store_gib: Ray refuses {memory or 'its default'} on this machine "
                f"({_first_line(error)})"
            ) from None
        kind = RayTooSlowError if _TOO_SLOW in str(error) else RunFailedError
        raise kind(
            f"Ray did not start on this machine ({_first_line(error)}). Where the machine was only "
            f"busy, run the same command again; else see Ray's logs, which are kept in {folder}, "
            "or set ray.mode to in_process"
        ) from None


def join(address: str) -> None:
    """Join the cluster at ``address``.

    Raises:
        NotFoundError: it does not answer, or refuses this process.
    """
    import ray

    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=_environment(),
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise NotFoundError(
            f"ray.address: cannot join the cluster at '{address}' ({error}); start one with "
            "`ray start --head`, or set ray.address to null for a local run. Where the cluster "
            "asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        ) from None


@contextmanager
def hooked() -> Iterator[None]:
    """Have workers of the Ray that is started in the body call our hook.

    By the variable in which Ray itself hands a hook to workers: a runtime environment would come to
    the same, but for the workers that Ray starts ahead, which it could not use then.
    """
    from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR as variable

    os.environ[variable] = _HOOK
    try:
        yield
    finally:
        del os.environ[variable]


def _environment() -> dict[str, str]:
    """What our workers on a cluster start with; nothing where a job brought a hook of its own."""
    job = json.loads(os.environ.get(_JOB, "{}"))
    hook = (job.get("runtime_env") or {}).get(_SETUP)
    if hook in (None, _HOOK):
        return {} if hook else {_SETUP: _HOOK}
    logger.warning(
        "this job was sent with a %s of its own (%s), and Ray takes only one: have it call %s, or "
        "a folder of yours called pipeline or jobs is taken for ours in workers",
        _SETUP,
        hook,
        _HOOK,
    )
    return {}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def logical_cpus(config: RayJob) -> int:
    """CPU slots of a local Ray: this machine's CPUs, and room for tasks beside all replicas.

    Replicas that are as many as there are CPUs leave no slot for the tasks that read, encode and
    commit for them, and Ray would wait for ever. Two tasks more keep up with eight replicas; that
    is as much as they oversubscribe the machine, and only while they run. One slot more is Ray
    Data's, which keeps a share of all slots back for each of its operators: a pool of three
    replicas of half a CPU, beside two tasks of a quarter on two slots, never got its first task.
    """
    replicas, here = config.replicas, cpus()
    if replicas.given_most is None or replicas.num_cpus == "auto":  # to be chosen, within these
        taken = float(here)
    else:
        taken = replicas.given_most * replicas.num_cpus
    tasks = max(2, math.ceil(here / _REPLICAS_PER_TASK)) * config.ray.read_cpus
    return max(here, math.ceil(taken + tasks) + 1)


def _refuse_taken(port: int | None) -> None:
    """Ray itself starts where it cannot show its metrics, and says so in a log file only."""
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise ConfigurationError(
                f"ray.metrics_port: {port} cannot be used ({error.strerror}); give another one, or "
                "null where nobody scrapes this run"
            ) from None


def quiet() -> None:
    """Set Ray Data up for runs of long units, without output of its own."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = _NO_PROGRESS_S
    context.max_consecutive_actor_init_deaths = _DEATHS_AT_START
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
