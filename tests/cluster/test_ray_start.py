"""Ray that comes up late on a busy machine is started again, once what came up has ended."""

from __future__ import annotations

import inspect
import json
import logging
import math
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import node

from pipeline.cluster import ray_start
from pipeline.cluster.cleanup_process import VARIABLE
from pipeline.cluster.ray_session import STARTS, ray_session
from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import ConfigurationError, RunFailedError
from pipeline.machine import cpus

#: What Ray 2.60 raises; starting it so slowly in earnest takes half a minute each time.
LATE = "The current node timed out during startup. This could happen because ..."


def tasks() -> float:
    """CPUs of tasks beside replicas that take all CPUs."""
    return max(2, math.ceil(cpus() / 8)) * RayConfig().read_cpus


class Job:
    """What starting Ray looks at."""

    ray = RayConfig()
    replicas = ReplicasConfig()


class Starts:
    """In place of ``ray.init``: starts that fail, each of which leaves a process running.

    Attributes:
        fails: what the start of this number, from 0, does.
        folders: that were given.
        left: processes that were left running, and whether they ran at the next start.
    """

    def __init__(self, fails: Callable[[int], None]) -> None:
        self.fails = fails
        self.folders: list[Path] = []
        self.left: list[subprocess.Popen[bytes]] = []
        self.beside: list[bool] = []

    def init(self, **options: Any) -> None:
        self.beside.append(any(process.poll() is None for process in self.left))
        self.folders.append(Path(options["_temp_dir"]).parent)
        marked = {**os.environ, VARIABLE: str(self.folders[-1])}
        self.left.append(subprocess.Popen(["sleep", "600"], env=marked))
        self.fails(len(self.left) - 1)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Starts]:
    def made(fails: Callable[[int], None]) -> Starts:
        starts = Starts(fails)
        monkeypatch.setattr(ray, "init", starts.init)
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setenv("RAY_TMPDIR", f"/tmp/rr-{os.getpid()}-{os.urandom(3).hex()}")
        return starts

    return made


def late(text: str, *, times: int) -> Callable[[int], None]:
    def fail(number: int) -> None:
        if number < times:
            raise Exception(text)

    return fail


def test_ray_says_so_as_it_did() -> None:
    assert ray_start._TOO_SLOW in inspect.getsource(node)


def test_a_slow_start_is_made_again_once_its_processes_are_gone(
    failing: Callable[..., Starts],
) -> None:
    starts = failing(late(LATE, times=1))
    with ray_session(Job()):
        assert starts.folders[1].is_dir()
        assert not starts.folders[0].joinpath("r").exists()
    assert starts.beside == [False, False]
    assert all(process.wait(20) for process in starts.left)


@pytest.mark.parametrize(
    ("replicas", "slots"),
    [
        ({}, cpus() + tasks()),
        ({"min": 1, "num_cpus": 0.5}, 0.5 + tasks()),
        ({"min": 3, "num_cpus": 2 * cpus()}, 6 * cpus() + tasks()),
        ({"max": 2}, cpus() + tasks()),
    ],
    ids=str,
)
def test_slots_are_for_every_replica_and_tasks_beside(
    replicas: dict[str, Any], slots: float
) -> None:
    class Asked(Job):
        pass

    Asked.replicas = ReplicasConfig.model_validate(replicas)
    one_more = math.ceil(slots) + 1  # which Ray Data keeps back
    assert ray_start.logical_cpus(Asked()) == max(cpus(), one_more)


def test_a_start_that_is_always_late_is_given_up(failing: Callable[..., Starts]) -> None:
    starts = failing(late(LATE, times=STARTS))
    with pytest.raises(RunFailedError, match=r"did not start .* in_process"), ray_session(Job()):
        pass
    assert starts.beside == [False] * STARTS


def test_what_waiting_does_not_mend_is_told_at_once(failing: Callable[..., Starts]) -> None:
    starts = failing(late("no space left on device", times=1))
    with pytest.raises(RunFailedError, match="no space left"), ray_session(Job()):
        pass
    assert len(starts.folders) == 1


def test_a_port_for_metrics_is_free_or_refused() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"ray\.metrics_port: {port} cannot be used"):
            ray_start._refuse_taken(port)
    ray_start._refuse_taken(port)
    ray_start._refuse_taken(None)


def test_a_raylet_that_gave_its_helpers_up_is_started_again(
    failing: Callable[..., Starts], tmp_path: Path
) -> None:
    """It ends itself, as a child of this process, before Ray says anything; it stays a zombie."""
    raylet = Path(shutil.copy("/bin/false", tmp_path / "raylet"))
    dead: list[subprocess.Popen[bytes]] = []

    def fail(number: int) -> None:
        if number == 0:
            dead.append(subprocess.Popen([raylet]))
            time.sleep(60)  # as Ray waits; the watch interrupts it

    starts = failing(fail)
    with ray_session(Job()):
        time.sleep(1.5)  # the watch looks again
    assert len(starts.folders) == 2
    assert dead[0].wait() == 1


@pytest.mark.parametrize(
    ("job", "given"),
    [
        (None, ray_start._HOOK),
        ({"runtime_env": {"working_dir": "gcs://one.zip"}}, ray_start._HOOK),
        ({"runtime_env": None}, ray_start._HOOK),
        ({"runtime_env": {"worker_process_setup_hook": ray_start._HOOK}}, None),
        ({"runtime_env": {"worker_process_setup_hook": "their.hook"}}, None),
    ],
)
def test_workers_of_a_cluster_keep_our_names_unless_a_job_came_with_a_hook(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, job: Any, given: str | None
) -> None:
    monkeypatch.setattr(logging.getLogger("pipeline"), "propagate", True)
    if job is not None:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    assert ray_start._environment().get("worker_process_setup_hook") == given
    assert ("their.hook" in caplog.text) == ("their.hook" in str(job))
