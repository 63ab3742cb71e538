"""Detects that Ray is lost before Ray itself ends this process without a message.

Ray's C++ code calls ``_exit(1)`` in a driver whose cluster is gone, and says nothing. So a thread
checks whether Ray's processes live. When one is dead it raises an error in the main thread, which
stops the run in an orderly way; if that takes too long, or Ray leaves no time for it, the thread
prints the error, releases the lease and ends the process with the exit code of a failed run.

Time is counted in looks, not by the clock: a process that was not given the machine for a minute
has not looked for a minute, and so knows of nothing that is late.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from pipeline.cluster.ray_looks import GIVEN_UP
from pipeline.errors import ExitCode, RerankError, RunFailedError

#: Seconds between two looks at a cluster that was joined, which asks its head over the network.
LOOK_S: Final = 0.5

#: Seconds between two looks at processes of our own: Ray's code ends this process a tenth of a
#: second after its raylet begins to end.
LOCAL_LOOK_S: Final = 0.02

#: Seconds that the main thread gets to stop in an orderly way, if Ray leaves that long.
_LEAVE_S: Final = 30.0

#: Seconds that releasing the lease may take before the process is ended by ``os._exit``.
_GIVE_BACK_S: Final = 3.0

#: Seconds between two attempts to raise the error in the main thread, which may swallow one.
_RAISE_S: Final = 2.0

#: A signal that neither Ray nor the libraries here use.
_SIGNAL: Final = signal.SIGUSR2

Look = Callable[[], str | None]


class RayWatch:
    """A thread that checks Ray's processes while a session lasts.

    Attributes:
        lost: what of Ray died; None while everything runs.
        leave_s: seconds that stopping and Ray's shutdown may take.

    Args:
        look: says what died; never raises.
        hint: where Ray's logs are, as the end of a sentence.
        look_s: seconds between two looks.
        pause: waits that long, or less where there is something to see; a plain wait if None.
        sudden: whether what died leaves no time for an orderly stop.
        on_exit: called, those that are not None, before the process is ended by ``os._exit``; each
            gets a few seconds.
    """

    def __init__(
        self,
        look: Look,
        *,
        hint: str,
        on_exit: Sequence[Callable[[], None] | None],
        look_s: float = LOOK_S,
        pause: Callable[[float], None] | None = None,
        sudden: Callable[[], bool] = lambda: False,
    ) -> None:
        self.lost: str | None = None
        self._sudden = sudden
        self._look = look
        self._look_s = look_s
        self._pause = pause
        self._hint = hint
        self.on_exit = list(on_exit)
        self._stderr = os.dup(2)  # descriptor 2 is elsewhere while Ray starts
        self._in_body = threading.current_thread() is threading.main_thread()
        self._leaving = False
        self._late = 0
        self.leave_s = _LEAVE_S
        self._stopped = threading.Event()
        self._ending = threading.Lock()
        self._previous: Any = signal.signal(_SIGNAL, self._raise) if self._in_body else None
        self._handles = self._in_body
        self._thread = threading.Thread(target=self._watch, name="ray-watch", daemon=True)
        self._thread.start()

    def error(self) -> RunFailedError:
        """The error of a run that lost its Ray."""
        what = self.lost or f"Ray did not shut down within {self.leave_s:.0f} s"
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
            self._look_now()
        return self.error() if plain and self.lost is not None else error

    def limit(self, ray_exits_after_s: float) -> None:
        """Ray ends this process so long after it lost the cluster; be quicker."""
        left_s = (
            ray_exits_after_s * (1 - GIVEN_UP) - 2 * self._look_s
        )  # one look late to begin with
        self.leave_s = min(_LEAVE_S, left_s)

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
        raise_again = max(1, round(_RAISE_S / self._look_s))
        while not self._waited():
            if self.lost is None and not self._leaving:
                self._look_now()
            if self.lost is None and not self._leaving:
                continue
            if self._in_body and self._late % raise_again == 0:
                signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
            self._late += 1
            if self._late * self._look_s >= self.leave_s:
                self._exit()

    def _waited(self) -> bool:
        """Wait for the next look; whether the watch is stopped.

        Once looks are counted as time, each takes its whole time.
        """
        if self._pause is None or self.lost is not None or self._leaving:
            return self._stopped.wait(self._look_s)
        self._pause(self._look_s)
        return self._stopped.is_set()

    def _look_now(self) -> None:
        lost = self._look()
        with self._ending:
            self.lost = self.lost or lost
            if self.lost is not None and self._sudden():
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
