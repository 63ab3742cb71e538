"""Ray's death is told from a busy machine, and a joined cluster is given up before Ray does."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.cluster.access import answers
from pipeline.cluster.ray_looks import JoinedLook, LocalLook
from tests.execution.cluster.processes import free_ports
from tests.execution.drivers import wait_for
from tests.support.ray_servers import gcs


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


#: Stands for a raylet: its children are an agent, and one that was only just forked and still has
#: the raylet's own command line, with those of both agents in it.
RAYLET = """
import subprocess, sys, time
sleeping = ["sh", "-c", "sleep 60; true"]
agent = subprocess.Popen([*sleeping, "/x/dashboard/agent.py"])
both = "--agents=python /x/dashboard/agent.py --port=1 python /x/runtime_env/agent/main.py -v"
subprocess.Popen([*sleeping, both])
print(agent.pid, flush=True)
agent.wait()
time.sleep(60)
"""


@pytest.mark.parametrize("up", [True, False])
def test_an_agent_that_dies_takes_the_raylet_along(
    monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    import ray._private.worker

    with subprocess.Popen(
        [sys.executable, "-c", RAYLET], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as raylet:
        try:
            assert raylet.stdout is not None
            agent = int(raylet.stdout.readline())
            node = SimpleNamespace(
                all_processes={"raylet": [SimpleNamespace(process=raylet)]},
                dead_processes=lambda: [],
            )
            monkeypatch.setattr(ray._private.worker, "_global_node", node)
            look = LocalLook()
            look.up = up
            wait_for(lambda: look() is not None or len(look._held) == 2)
            assert (look(), look.sudden) == (None, False)
            look.pause(0.001)
            os.kill(agent, signal.SIGKILL)
            if up:
                slept: list[float] = []
                with monkeypatch.context() as patched:
                    patched.setattr(time, "sleep", slept.append)
                    look.pause(600)  # is over at once, and once only
                    assert not slept
                    look.pause(600)
                assert slept == [600]
            wait_for(lambda: look() is not None)
            assert look() == "the dashboard agent, without which the raylet ends, died"
            assert look.sudden == up
            if up:  # and so says nothing to the cluster service
                wait_for(lambda: psutil.Process(raylet.pid).status() == psutil.STATUS_STOPPED)
            look.close()
        finally:
            os.killpg(raylet.pid, signal.SIGKILL)
