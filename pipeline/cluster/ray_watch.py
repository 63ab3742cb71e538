"""Detects that Ray is lost before Ray itself ends this process without a message.

Ray's C++ code calls ``_exit(1)`` in a driver whose cluster is gone, and says nothing. So a thread
checks whether Ray's processes live. When one is dead it raises an error in the main thread, which
stops the run in an orderly way; if that takes too long, the thread prints the error and ends the
process with the exit code of a failed run.

Time is counted in looks, not by the clock: a process that was not given the machine for a minute
has not looked for a minute, and so knows of nothing that is late.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pipeline.errors import ExitCode, RerankError, RunFailedError

#: Seconds between two looks.
LOOK_S: Final = 0.5

#: Seconds that the main thread gets to stop in an orderly way, if Ray leaves that long.
_LEAVE_S: Final = 30.0

#: Seconds that releasing the lease may take before the process is ended by ``os._exit``.
_GIVE_BACK_S: Final = 3.0

#: Seconds between two attempts to raise the error in the main thread, which may swallow one.
_RAISE_S: Final = 2.0

#: A signal that neither Ray nor the libraries here use.
_SIGNAL: Final = signal.SIGUSR2

#: Processes of Ray without which a driver cannot go on, and what they are.
_VITAL: Final = {"gcs_server": "its cluster service", "raylet": "its node manager and object store"}

#: Seconds without the head of a cluster after which Ray ends its drivers, unless the cluster or an
#: environment variable says otherwise. A head with fault tolerance is started again in that time.
_HEAD_SILENT_S: Final = 60.0
_HEAD_SETTING: Final = "gcs_rpc_server_reconnect_timeout_s"

#: The part of that time after which the head is given up here, so that we are first: what is left
#: is for a main thread that Ray's code holds.
_GIVEN_UP: Final = 0.7

#: Looks in a row that must find nobody, beside the time.
_CONFIRMED: Final = 5

Look = Callable[[], str | None]


class RayWatch:
    """A thread that checks Ray's processes while a session lasts.

    Attributes:
        lost: what of Ray died; None while everything runs.

    Args:
        look: says what died; never raises.
        hint: where Ray's logs are, as the end of a sentence.
        on_exit: called, those that are not None, before the process is ended by ``os._exit``; each
            gets a few seconds.
    """

    def __init__(
        self, look: Look, *, hint: str, on_exit: Sequence[Callable[[], None] | None]
    ) -> None:
        self.lost: str | None = None
        self._look = look
        self._hint = hint
        self.on_exit = list(on_exit)
        self._stderr = os.dup(2)  # descriptor 2 is elsewhere while Ray starts
        self._in_body = threading.current_thread() is threading.main_thread()
        self._leaving = False
        self._late = 0
        self._leave_s = _LEAVE_S
        self._stopped = threading.Event()
        self._previous: Any = signal.signal(_SIGNAL, self._raise) if self._in_body else None
        self._handles = self._in_body
        self._thread = threading.Thread(target=self._watch, name="ray-watch", daemon=True)
        self._thread.start()

    def error(self) -> RunFailedError:
        """The error of a run that lost its Ray."""
        what = self.lost or f"Ray did not shut down within {self._leave_s:.0f} s"
        return RunFailedError(
            f"Ray was lost: {what}. Committed units are kept: run the same command again to resume"
            f"{self._hint}"
        )

    def explained(self, error: BaseException) -> BaseException:
        """What to raise instead of what Ray raised: the loss, where Ray is lost.

        Errors that are not about workers, and requests to stop, are their own explanation.
        """
        plain = isinstance(error, Exception) and (
            not isinstance(error, RerankError) or isinstance(error, RunFailedError)
        )
        if plain and self.lost is None:
            self.lost = self._look()
        return self.error() if plain and self.lost is not None else error

    def limit(self, ray_exits_after_s: float) -> None:
        """Ray ends this process so long after it lost the cluster; be quicker."""
        left_s = ray_exits_after_s * (1 - _GIVEN_UP) - 2 * LOOK_S  # one look late to begin with
        self._leave_s = min(_LEAVE_S, left_s)

    def leave(self) -> None:
        """The session ends: nothing is raised any more, and Ray has to shut down in time."""
        self._in_body = False
        self._leaving = True

    def stop(self) -> None:
        """Ray is shut down."""
        self._in_body = False
        self._stopped.set()
        self._thread.join()
        os.close(self._stderr)
        if self._handles:
            signal.signal(_SIGNAL, self._previous)

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            if self.lost is None and not self._leaving:
                self.lost = self._look()
            if self.lost is None and not self._leaving:
                continue
            if self._in_body and self._late % (_RAISE_S / LOOK_S) == 0:
                signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            self._late += 1
            if self._late * LOOK_S >= self._leave_s:
                self._exit()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if self._in_body and self.lost is not None:
            raise self.error()

    def _exit(self) -> None:
        """End the process; the error is printed first, because what follows may block."""
        os.write(self._stderr, f"error: {self.error()}\n".encode())
        for call in self.on_exit:
            if call is not None:
                calling = threading.Thread(target=call, daemon=True)
                calling.start()
                calling.join(_GIVE_BACK_S)
        os._exit(int(ExitCode.FAILED))


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
        if len(self._head_misses) > _CONFIRMED and silent_s >= self.silent_s * _GIVEN_UP:
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
