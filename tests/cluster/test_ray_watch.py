"""Ray's death is told from a busy machine, and ends a driver with a sentence and exit code 5."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import ray_watch
from pipeline.cluster.access import answers
from pipeline.cluster.ray_watch import JoinedLook, RayWatch
from pipeline.errors import ConfigurationError, FencedError, RunFailedError, TerminatedError
from tests.execution.cluster.processes import free_ports
from tests.execution.drivers import ROOT
from tests.support.ray_servers import gcs

#: A session whose Ray dies after a second, in a driver that is busy in its own way.
SESSION = """
import signal, sys, time
from pathlib import Path
from pipeline.errors import RunFailedError
from pipeline.cluster import ray_watch

given_back = Path(sys.argv[2])
ray_watch._LEAVE_S, ray_watch._GIVE_BACK_S, ray_watch._RAISE_S = 2.0, 0.2, 0.5
begin = time.monotonic()
look = lambda: "the moon fell down" if time.monotonic() - begin > 1 else None
give_back = [given_back.touch, None, lambda: time.sleep(1000)]
watch = ray_watch.RayWatch(look, hint="; see the logs", on_exit=give_back)
try:
    if sys.argv[1] == "deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        time.sleep(1000)
    elif sys.argv[1] == "swallows":
        try:
            time.sleep(1000)
        except RunFailedError:
            time.sleep(1000)
    elif sys.argv[1] == "shutdown":
        watch.leave()
        time.sleep(1000)
    time.sleep(1000)
except RunFailedError as error:
    watch.leave()
    watch.stop()
    print(f"error: {error}", file=sys.stderr)
    sys.exit(5)
"""


@pytest.mark.parametrize(
    ("driver", "given_back"),
    [("waits", False), ("swallows", False), ("deaf", True), ("shutdown", True)],
)
def test_a_driver_that_loses_ray_says_so_and_exits_5(
    tmp_path: Path, driver: str, given_back: bool
) -> None:
    token = tmp_path / "given-back"
    done = subprocess.run(
        [sys.executable, "-c", SESSION, driver, str(token)], capture_output=True, text=True,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120,
    )  # fmt: skip
    what = "Ray did not shut down within 2 s" if driver == "shutdown" else "the moon fell down"
    assert done.returncode == 5, done.stderr
    assert done.stderr == (
        f"error: Ray was lost: {what}. Committed units are kept: run the same command again to "
        "resume; see the logs\n"
    )
    assert token.exists() == given_back


@pytest.fixture
def watched() -> Any:
    """A watch that has seen nothing, and one for which Ray is lost, each by its look."""
    started = []

    def watch(lost: str | None) -> RayWatch:
        started.append(RayWatch(lambda: lost, hint="", on_exit=[]))
        started[-1].leave()  # raises nothing
        return started[-1]

    yield watch
    for one in started:
        one.stop()


def test_what_ray_raises_when_it_is_lost_is_the_loss(
    watched: Callable[[str | None], RayWatch],
) -> None:
    whatever = ValueError("ActorDiedError"), RunFailedError("a worker failed")
    for error in whatever:
        assert "Ray was lost: GCS" in str(watched("GCS").explained(error))
        assert watched(None).explained(error) is error
    own: list[BaseException] = [
        FencedError("x"), ConfigurationError("x"), TerminatedError("x"), KeyboardInterrupt(),
        SystemExit(1),
    ]  # fmt: skip
    for told in own:
        assert watched("GCS").explained(told) is told


def test_a_process_that_is_not_run_counts_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's lock is held for longer than anything may take, and nothing is late."""
    monkeypatch.setattr(ray_watch, "_LEAVE_S", 1.0)
    left: list[bool] = []
    watch = RayWatch(lambda: None, hint="", on_exit=[lambda: left.append(True)])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        watch.leave()
        until = time.monotonic() + 2
        while time.monotonic() < until:
            pass  # never gives the lock away
        watch._stopped.set()
    finally:
        sys.setswitchinterval(interval)
        watch.stop()
    assert not left


def look_until(look: JoinedLook, wanted: Callable[[str | None], bool]) -> str | None:
    for _ in itertools.repeat(None, 200):
        found = look()
        if wanted(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_head_that_dies_is_given_up_before_ray_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with gcs("127.0.0.1", None) as address:
        look = JoinedLook(address, answers)
        look.silent_s = 1.0
        assert look() is None
    begin = time.monotonic()
    found = look_until(look, lambda found: found is not None)
    assert f"the head of the cluster at '{address}' was silent" in str(found)
    assert time.monotonic() - begin >= 0.7


def test_a_head_that_comes_back_in_time_is_no_loss() -> None:
    living = [True]
    look = JoinedLook("head:6379", lambda _: living[0])
    look.silent_s = 0.2
    for alive in [True, *[False] * 5, True, *[False] * 5, True]:
        living[0] = alive
        assert look() is None
        time.sleep(0.05)


def test_a_few_misses_are_no_loss_however_late_they_come() -> None:
    look = JoinedLook("head:6379", lambda _: False)
    look.silent_s = 0.0
    assert [look() for _ in range(5)] == [None] * 5
    assert look() is not None


def test_a_head_that_asks_for_a_token_lives() -> None:
    import grpc

    with gcs("127.0.0.1", grpc.StatusCode.UNAUTHENTICATED) as address:
        assert answers(address)
    assert not answers(f"127.0.0.1:{free_ports(1)[0]}")


def test_the_raylet_of_this_node_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray._private.worker

    class Node:
        raylet_socket_name = str(tmp_path / "raylet")

    monkeypatch.setattr(ray._private.worker, "_global_node", Node)
    look = JoinedLook("head:6379", lambda _: True)
    with socket.socket(socket.AF_UNIX) as raylet:
        raylet.bind(Node.raylet_socket_name)
        raylet.listen()
        assert [look() for _ in range(8)] == [None] * 8
    assert [look() for _ in range(4)] == [None] * 4
    assert f"nobody listens at {Node.raylet_socket_name}" in str(look())


def test_no_thread_and_no_handler_stays() -> None:
    import signal

    before = signal.getsignal(signal.SIGUSR2), set(threading.enumerate())
    watch = RayWatch(lambda: None, hint="", on_exit=[])
    watch.leave()
    watch.stop()
    assert (signal.getsignal(signal.SIGUSR2), set(threading.enumerate())) == before
