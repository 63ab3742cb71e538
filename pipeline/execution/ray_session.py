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

from pipeline.config import JobConfig
from pipeline.errors import NotFoundError, RunFailedError

#: Ray Data stops a run in which no task finishes for this long; a unit of long documents on a
#: small machine takes far longer than its default of 30 minutes.
_NO_PROGRESS_S = 6 * 3600

#: The last line of a traceback, as Ray quotes it.
_EXCEPTION = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b.*: ")


@contextmanager
def ray_session(config: JobConfig) -> Iterator[None]:
    """A connection to Ray for one run; a local Ray is shut down afterwards, a joined one left.

    Raises:
        NotFoundError: the cluster at ``ray.address`` cannot be reached.
    """
    # Read by Ray's C++ code when it starts; errors of ours come back as exceptions.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    import ray

    already = ray.is_initialized()
    if not already:
        with _stderr_held_back():
            _start(config)
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


def _start(config: JobConfig) -> None:
    import ray

    if config.ray.address is not None:
        _check_reachable(config.ray.address)
        try:
            ray.init(address=config.ray.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise NotFoundError(
                f"ray.address: no cluster at '{config.ray.address}' ({error}); start one with "
                "`ray start --head`, or set ray.address to null for a local run. Where the cluster "
                "asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH"
            ) from None
        return
    memory = config.ray.object_store_gib
    ray.init(
        num_cpus=_logical_cpus(config),
        num_gpus=None if config.replicas.num_gpus else 0,
        include_dashboard=False,
        object_store_memory=None if memory is None else int(memory * 2**30),
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _check_reachable(address: str) -> None:
    """Refuse a host:port where nobody listens; Ray itself would try for minutes.

    Raises:
        NotFoundError: no connection within ten seconds.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return  # auto, or ray://, which fail quickly by themselves
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise NotFoundError(
            f"ray.address: no cluster at '{address}' ({error}); start one with `ray start --head`, "
            "or set ray.address to null for a local run"
        ) from None


def _logical_cpus(config: JobConfig) -> int:
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
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
