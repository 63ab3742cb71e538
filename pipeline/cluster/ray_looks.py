"""Whether Ray lives that was started here, or joined; :mod:`pipeline.cluster.ray_watch` asks it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

#: Processes of Ray without which a driver cannot go on, and what they are.
_VITAL: Final = {"gcs_server": "its cluster service", "raylet": "its node manager and object store"}

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
    """

    def __init__(self) -> None:
        self._dead_before = frozenset(_dead_children())

    def __call__(self) -> str | None:
        """What died."""
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
        return None


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
