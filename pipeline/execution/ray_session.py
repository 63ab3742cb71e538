"""Starting or joining Ray, and keeping its chatter out of the way."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import ConfigurationError, NotFoundError, RerankError, RunFailedError
from pipeline.execution.cluster_access import refuse_open_cluster, secure_local_ray

#: Ray Data stops a run in which no task finishes for this long; a unit of long documents on a
#: small machine takes far longer than its default of 30 minutes.
_NO_PROGRESS_S = 6 * 3600

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
def ray_session(config: RayJob) -> Iterator[None]:
    """A connection to Ray for one run; a local Ray is shut down afterwards, a joined one left.

    A run inside a Ray job joins the cluster of that job, whose address is in the environment.

    Raises:
        NotFoundError: the cluster at ``ray.address`` cannot be reached.
        ConfigurationError: the cluster obeys strangers, or the address is not one.
    """
    # Read by Ray's C++ code when it starts; errors of ours come back as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    already = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    if not already:
        address = _cluster_address(config)
        if address is None:
            secure_local_ray(insecure=config.ray.insecure_cluster)
        elif address != "auto":
            _check_reachable(address)
            refuse_open_cluster(address, insecure=config.ray.insecure_cluster)
        with _stderr_held_back():
            if address is None:
                _start(config)
            else:
                _join(address, config)
    import ray

    _quiet()
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


def explain(error: Exception) -> RunFailedError:
    """What Ray raised when a worker failed, in one line that a person can act on."""
    lines = [line.strip() for line in str(error).splitlines()]
    named = [
        line for line in lines if _EXCEPTION.match(line) and not line.startswith("ray.exceptions.")
    ]
    cause = named[-1] if named else next((line for line in lines if line), type(error).__name__)
    return RunFailedError(
        f"a worker failed: {cause}. Committed units are kept: run the same command again to "
        "resume; the worker's log is in Ray's session folder"
    )


@contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Keep what Ray's C++ code writes while it starts, and show it only when starting fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
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


def _start(config: RayJob) -> None:
    import ray

    memory = config.ray.object_store_gib
    ray.init(
        # Without this, Ray would join whatever cluster was started last on this machine.
        address="local",
        num_cpus=_logical_cpus(config),
        num_gpus=None if config.replicas.num_gpus else 0,
        include_dashboard=False,
        object_store_memory=None if memory is None else int(memory * 2**30),
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _join(address: str, config: RayJob) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise NotFoundError(
            f"ray.address: cannot join the cluster at '{address}' ({error}); start one with "
            "`ray start --head`, or set ray.address to null for a local run. Where the cluster "
            "asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
        ) from None
    if address == "auto":
        try:
            found = ray.get_runtime_context().gcs_address
            refuse_open_cluster(found, insecure=config.ray.insecure_cluster)
        except RerankError:
            ray.shutdown()
            raise


def _cluster_address(config: RayJob) -> str | None:
    """The cluster to join: the configured one, or the one that this process is a job of."""
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or None
    if address is not None and "://" in address:
        raise ConfigurationError(
            f"ray.address: '{address}' is no address of a cluster; give host:port or auto from a "
            "node of it, or send the job there with `rerank submit`"
        )
    return None if address == "local" else address


def _check_reachable(address: str) -> None:
    """Refuse a host:port where nobody listens; Ray itself would try for minutes.

    Raises:
        NotFoundError: no connection within ten seconds.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise NotFoundError(
            f"ray.address: no cluster at '{address}' ({error}); give host:port or auto, start one "
            "with `ray start --head`, or set ray.address to null for a local run"
        ) from None


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
