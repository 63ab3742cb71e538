"""Threads of Ray Data have ended before Ray is shut down, and no alarm interrupts that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cluster.ray_session import _undisturbed
from pipeline.cluster.ray_threads import _of_ray_data, wait_for_ray_data
from pipeline.errors import TerminatedError
from pipeline.execution.termination import Termination
from tests.execution.drivers import ROOT

#: A dataset of which only the first row is read, by a driver whose other threads are slow to ask
#: Ray for the next ones.
EARLY_END = """
import threading, time
import ray
from pipeline.cluster import ray_tasks
from pipeline.cluster.ray_session import ray_session
from pipeline.config import RayConfig, ReplicasConfig

class Job:
    ray, replicas = RayConfig(), ReplicasConfig()

get = ray.get
def slow(*arguments, **settings):
    if threading.current_thread().name == "iter_threaded":
        time.sleep(2)
    return get(*arguments, **settings)
ray.get = slow

with ray_session(Job()):
    rows = ray_tasks.rows_of(ray_tasks.numbers(50))
    next(rows)
    rows.close()
time.sleep(3)
print("and on it goes")
"""


def _thread(module: str, seconds: float, until: threading.Event) -> threading.Thread:
    def work() -> None:
        until.wait(seconds)

    work.__module__ = module
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def until() -> Iterator[threading.Event]:
    """Set at the end of a test, so that none of its threads is there in the next."""
    event = threading.Event()
    yield event
    event.set()


def test_threads_of_ray_data_alone_are_waited_for(until: threading.Event) -> None:
    theirs = _thread("ray.data._internal.block_batching.util", 0.3, until)
    others = [_thread("ray.dataset", 60, until), _thread("ray._private.worker", 60, until)]
    wait_for_ray_data(patience_s=60)
    assert not theirs.is_alive()
    assert all(one.is_alive() for one in others)


def test_a_thread_that_never_ends_is_waited_for_so_long(until: threading.Event) -> None:
    stuck = _thread("ray.data", 60, until)
    wait_for_ray_data(patience_s=0.1)
    assert stuck.is_alive()


def test_a_prefetcher_that_slept_through_its_end_is_woken() -> None:
    from ray.data._internal.block_batching.util import WaitBlockPrefetcher

    prefetcher = WaitBlockPrefetcher()
    while not prefetcher._condition._waiters:  # type: ignore[attr-defined]
        time.sleep(0.01)
    prefetcher._stopped = True  # as it is where stop() comes before the thread waits
    wait_for_ray_data(patience_s=60)
    assert not prefetcher._thread.is_alive()


def test_no_thread_of_a_dataset_that_was_read_is_left(ray_cluster: None) -> None:
    from pipeline.cluster import ray_tasks

    assert len(list(ray_tasks.rows_of(ray_tasks.numbers(3)))) == 3
    wait_for_ray_data(patience_s=60)
    assert not [thread for thread in threading.enumerate() if _of_ray_data(thread)]


def test_an_alarm_in_the_middle_of_the_shutdown_raises_after_it() -> None:
    termination = Termination(grace_s=0, on_request=lambda: None, on_exit=lambda: None)
    through = False
    with pytest.raises(TerminatedError), termination.watched(), _undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        while signal.getitimer(signal.ITIMER_REAL)[0]:
            time.sleep(0.01)
        time.sleep(0.05)
        through = True
    assert through


def test_a_dataset_that_is_not_read_to_its_end_does_not_end_the_driver(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY_END], capture_output=True, text=True, cwd=ROOT, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_BACKEND_LOG_LEVEL": "error"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "and on it goes\n"), done.stderr
