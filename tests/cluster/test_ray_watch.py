"""Ray's death is told from a busy machine, and ends a driver with a sentence and exit code 5."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import ray_watch
from pipeline.cluster.ray_watch import RayWatch
from pipeline.errors import ConfigurationError, FencedError, RunFailedError, TerminatedError
from tests.execution.drivers import ROOT

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
sudden = lambda: sys.argv[1] == "sudden"
watch = ray_watch.RayWatch(look, hint="; see the logs", on_exit=give_back, sudden=sudden)
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
    [
        ("waits", False),
        ("swallows", False),
        ("deaf", True),
        ("shutdown", True),
        ("sudden", True),
    ],
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


def test_no_thread_and_no_handler_stays() -> None:
    import signal

    before = signal.getsignal(signal.SIGUSR2), set(threading.enumerate())
    watch = RayWatch(lambda: None, hint="", on_exit=[])
    watch.leave()
    watch.stop()
    assert (signal.getsignal(signal.SIGUSR2), set(threading.enumerate())) == before
