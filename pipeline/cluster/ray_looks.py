"""Whether Ray lives that was started here, or joined; :mod:`pipeline.cluster.ray_watch` asks it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

#: Processes of Ray without which a driver cannot go on, and what they are.
_CLUSTER_SERVICE: Final = "gcs_server"
_VITAL: Final = {
    _CLUSTER_SERVICE: "its cluster service",
    "raylet": "its node manager and object store",
}

#: Processes that a raylet starts and does not outlive: the script that each runs, and the name that
#: it gives itself.
_AGENTS: Final = {
    "dashboard agent": ("/dashboard/agent.py", "ray::DashboardAgent"),
    "runtime environment agent": ("/runtime_env/agent/main.py", "ray::RuntimeEnvAgent"),
}

#: Looks after which an agent that was not found is taken for one that this Ray does not have.
_LOOKS_FOR_AGENTS: Final = 1_000

#: Seconds without the head of a cluster after which Ray ends its drivers, unless the cluster or an
#: environment variable says otherwise. A head with fault tolerance is started again in that time.
_HEAD_SILENT_S: Final = 60.0
_HEAD_SETTING: Final = "gcs_rpc_server_reconnect_timeout_s"

#: The part of that time after which the head is given up here, so that we are first: what is left
#: is for a main thread that Ray's code holds.
GIVEN_UP: Final = 0.7

#: Looks in a row that must find nobody, beside the time.
_CONFIRMED: Final = 5


class LocalLook:
    """Looks whether the Ray lives that this process starts or has started.

    Children that were dead before, such as those of a start that failed, are left out of account.

    What is left is stopped when the raylet is lost. A raylet that loses one of its agents ends and
    tells the cluster service, which tells this process, whose C++ code then looks for its objects
    in a raylet that is gone, and ends this process by ``_exit(1)``.

    Attributes:
        up: Ray has started.
        sudden: it is up and its raylet is lost, so that Ray ends this process at any moment.
    """

    def __init__(self) -> None:
        self._dead_before = frozenset(_dead_children())
        self.up = self.sudden = False
        self._held: dict[str, int] = {}  # a descriptor of each process that is waited for
        self._looks_for_agents = _LOOKS_FOR_AGENTS
        self._woken = False

    def __call__(self) -> str | None:
        """What died."""
        found = self._found()
        if found is not None and self.up:
            self.sudden = not found.startswith(_CLUSTER_SERVICE)
            if self.sudden:
                self._stop_all()
        return found

    def pause(self, seconds: float) -> None:
        """Wait for the next look, or until one of Ray's processes ends, which is told once.

        Where the machine is busy, Ray may be quicker than a look that comes when its time has.
        """
        if self.up and self._held and not self._woken:
            self._woken = _one_ended(tuple(self._held.values()), seconds)
        else:
            time.sleep(seconds)

    def close(self) -> None:
        """Hold no process any more."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _found(self) -> str | None:
        node = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
        if node is None:  # Ray itself keeps no account yet
            names = [n for pid, n in _dead_children().items() if pid not in self._dead_before]
            return next((f"{n}, {_VITAL[n]}, died while Ray was starting" for n in names), None)
        try:
            dead = {name: process.returncode for name, process in node.dead_processes()}
        except RuntimeError:  # Ray adds or removes one at this moment
            return None
        for name, role in _VITAL.items():
            if name in dead:
                return f"{name}, {role}, {_ending(dead[name])}"
        self._find(node)
        for name in _AGENTS:
            if name in self._held and _one_ended([self._held[name]], 0):
                return f"the {name}, without which the raylet ends, died"
        return None

    def _find(self, node: Any) -> None:
        """Hold Ray's processes, and the agents of the raylet, which are no children of this one."""
        if not self._looks_for_agents or len(self._held) == len(_VITAL) + len(_AGENTS):
            return
        self._looks_for_agents -= 1
        found = {name: _pid(node, name) for name in _VITAL}
        raylet = found["raylet"]
        for child in [] if raylet is None else _children(raylet):
            agent = _agent(child)
            if agent is not None:
                found[agent] = child
        for name, pid in found.items():
            if pid is not None and name not in self._held:
                with contextlib.suppress(OSError, AttributeError):  # it is gone; no Linux
                    self._held[name] = os.pidfd_open(pid)

    @staticmethod
    def _stop_all() -> None:
        node = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
        for name in _VITAL:
            pid = _pid(node, name)
            if pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)


class JoinedLook:
    """Looks whether a joined cluster lives: its head, and the raylet of this node.

    Attributes:
        silent_s: seconds after which Ray gives the head up; see :func:`head_silent_s`.

    Args:
        address: host:port of the head.
        answers: whether something answers there; may take a few seconds.
    """

    def __init__(self, address: str, answers: Callable[[str], bool]) -> None:
        self.silent_s = _HEAD_SILENT_S
        self._address = address
        self._answers = answers
        self._head_misses: list[float] = []
        self._raylet_misses = 0

    def __call__(self) -> str | None:
        """What died."""
        node = getattr(sys.modules.get("ray._private.worker"), "_global_node", None)
        path = getattr(node, "raylet_socket_name", None)
        self._raylet_misses = self._raylet_misses + 1 if path and not _listens(path) else 0
        if self._raylet_misses >= _CONFIRMED:
            return f"the raylet of this node is gone (nobody listens at {path})"
        if self._answers(self._address):
            self._head_misses.clear()
            return None
        self._head_misses.append(time.monotonic())
        silent_s = self._head_misses[-1] - self._head_misses[0]
        if len(self._head_misses) > _CONFIRMED and silent_s >= self.silent_s * GIVEN_UP:
            return f"the head of the cluster at '{self._address}' was silent for {silent_s:.0f} s"
        return None


def head_silent_s() -> float:
    """Seconds without its head after which Ray ends a driver of the cluster that was joined."""
    import ray._private.state as cluster

    state: Any = cluster.state
    said = state.get_system_config().get(_HEAD_SETTING)
    try:
        return float(said or os.environ[f"RAY_{_HEAD_SETTING}"])
    except (KeyError, ValueError):
        return _HEAD_SILENT_S


def _one_ended(descriptors: Iterable[int], seconds: float) -> bool:
    """Whether a process ends, of those that the descriptors are of, before the time is over."""
    ending = select.poll()  # which takes any number, as select does not
    for descriptor in descriptors:
        ending.register(descriptor, select.POLLIN)
    return bool(ending.poll(seconds * 1_000))


def _pid(node: Any, name: str) -> int | None:
    """The number of a living process that Ray has started here, which is a child of this one."""
    for process in getattr(node, "all_processes", {}).get(name, ()):
        if process.process.poll() is None:
            pid: int = process.process.pid
            return pid
    return None


def _children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except OSError:
        return []


def _agent(pid: int) -> str | None:
    """Which of a raylet's agents a process is.

    One that was only just forked still has the raylet's command line, in which the agents' stand as
    part of longer words.
    """
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    for name, (script, title) in _AGENTS.items():
        if words[0].strip() == title or any(word.endswith(script) for word in words):
            return name
    return None


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(path)
        except (ConnectionError, FileNotFoundError):
            return False
        except OSError:
            return True  # busy
    return True


def _dead_children() -> dict[int, str]:
    """Vital processes of ours that are dead and that nobody has asked for their end, by number."""
    me, found = str(os.getpid()), {}
    for path in Path("/proc").glob("[0-9]*/stat"):  # none where this is no Linux
        try:
            title, _, rest = path.read_text().partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if rest.split()[:2] == ["Z", me] and title in _VITAL:
            found[int(path.parent.name)] = title
    return found


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by signal {-code} ({signal.strsignal(-code)})"
