"""One driver at a time: a small file that its owner keeps changing.

The owner renews the lease by compare-and-swap. Another driver takes it over only after it has
watched it for a whole time-to-live, by its own monotonic clock, and seen no change; clocks of two
machines are never compared. Every owner has a higher epoch than the one before. An owner that was
taken over finds out at its next renewal and is fenced: it may not publish.

What the file holds is in :mod:`pipeline.execution.runs.holder`.

No driver takes over a damaged lease on its own, since it names no owner: its owner, if it lives, is
fenced at its next renewal, and ``--repair`` makes a new one after a time-to-live without a change,
with an epoch that no owner had before.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pipeline import failpoints
from pipeline.errors import (
    DamagedRunError,
    FencedError,
    LeaseHeldError,
    RerankError,
    TerminatedError,
)
from pipeline.execution.runs.holder import DRAINING, HELD, NAME, RELEASED, Holder, read_lease
from pipeline.storage.store import create_if_absent, join, replace_if_unchanged

logger = logging.getLogger("pipeline")

#: How often the lease's thread checks whether there is something to write.
_LOOK_S: Final = 0.2

Progress = Callable[[], dict[str, Any]]


class Lease:
    """The right to drive a run, renewed by a thread while the driver lives.

    Attributes:
        epoch: of this owner; 0 where the store can keep no lease.
    """

    def __init__(
        self,
        path: str,
        holder: Holder,
        version: str,
        progress: Progress,
        stopped: threading.Event | None = None,
    ) -> None:
        self._path = path
        self._holder = holder
        self._version = version
        self._progress = progress
        self._draining = False
        self._lost: str | None = None  # why
        self._lock = threading.Lock()
        self._stopped = stopped or threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """Of this owner."""
        return self._holder.epoch

    @property
    def renewals(self) -> int:
        """How often this owner has renewed it."""
        return self._holder.beat

    @property
    def lost(self) -> bool:
        """Whether a renewal found another owner, or no lease."""
        return self._lost is not None

    def fence(self) -> None:
        """Renew now; only who succeeds may publish.

        Raises:
            FencedError: another driver has taken over.
        """
        self._renew(DRAINING if self._draining else HELD)
        failpoints.reached("lease.fenced")

    def drain(self) -> None:
        """Let workers begin no further unit.

        Only takes a note, which the lease's thread writes: a signal handler may call this.
        """
        self._draining = True

    def release(self) -> None:
        """Stop renewing, and let the next driver start without waiting."""
        self._stopped.set()
        self._thread.join()
        try:
            if self._lost is None:
                self._renew(RELEASED)
                failpoints.reached("lease.released")
        except FencedError:
            return  # somebody else drives it now, which is what releasing is for
        except Exception as error:  # the run's own outcome is what matters now
            logger.warning("%s: not released (%s); it runs out by itself", self._path, error)

    def _beat(self) -> None:
        interval_s = self._holder.ttl_s / 3
        state, due = HELD, time.monotonic() + interval_s
        while not self._stopped.wait(min(interval_s, _LOOK_S)):
            wanted = DRAINING if self._draining else HELD
            if wanted != state or time.monotonic() >= due:
                state, due = wanted, time.monotonic() + interval_s
                self._renew_quietly(state)

    def _renew_quietly(self, state: str) -> None:
        try:
            self._renew(state)
        except FencedError as error:
            logger.error("%s", error)
            self._stopped.set()
        except Exception as error:  # whatever it is: a thread that dies says nothing any more
            # Silence is not loss: nobody may take over before one time-to-live has passed.
            kind = "" if isinstance(error, RerankError) else f"{type(error).__name__}: "
            logger.warning("%s: not renewed, trying again: %s%s", self._path, kind, error)

    def _renew(self, state: str) -> None:
        with self._lock:
            if self._lost is None:
                following = replace(
                    self._holder,
                    state=state,
                    beat=self._holder.beat + 1,
                    time=time.time(),
                    progress=self._progress(),
                )
                try:
                    version = _swap(self._path, following, self._version)
                except DamagedRunError as error:  # a link, a folder, junk: no longer our file
                    version = None
                    self._lost = (
                        f"this driver (epoch {self.epoch}) has lost its lease, stops and publishes "
                        f"nothing; units that it finished are kept. {error}"
                    )
                if version is not None:
                    self._version = version
                    self._holder = following
                    return
                self._lost = self._lost or self._why_lost()
            raise FencedError(self._lost)

    def _why_lost(self) -> str:
        """What has become of a lease that is not ours any more."""
        if read_lease(self._path) is None:
            what = (
                "it is gone, removed or moved with its folder or alone, and without it this driver "
                f"(epoch {self.epoch}) cannot know that it is the only one"
            )
        else:
            what = (
                f"another driver took this run over while this one (epoch {self.epoch}) was silent"
            )
        return (
            f"{self._path}: {what}; this one stops and publishes nothing. Units that it finished "
            "are kept"
        )


class NoLease:
    """What stands in for a lease on a store that can keep none: nothing is held or checked."""

    epoch = 0
    lost = False
    renewals = 0

    def fence(self) -> None:
        """Nothing to check."""

    def drain(self) -> None:
        """Workers cannot be told; units at work are left when the driver goes."""

    def release(self) -> None:
        """Nothing to give back."""


def take(
    folder: str,
    *,
    ttl_s: float,
    progress: Progress,
    inherit: Callable[[dict[str, Any]], None] = lambda told: None,
    repair: bool = False,
) -> Lease:
    """Become the driver of the run at ``folder``.

    A lease that was released is taken at once. One that is held is watched for a time-to-live,
    the holder's or ours, whichever is longer: when it changes, its holder lives.

    Args:
        folder: the run's path.
        ttl_s: seconds of silence past which we may be taken over.
        progress: what the lease carries for ``rerank status``, and for the driver that comes after
            this one, from the first moment on.
        inherit: given the progress of the holder before us, as it was when it lost the lease;
            called before ``progress``.
        repair: take a damaged lease after ``ttl_s`` without a change.

    Raises:
        LeaseHeldError: another driver is at work; names it.
        DamagedRunError: the lease is damaged, and is not to be repaired, or is no file.
    """
    path = join(folder, NAME)
    ours = Holder(
        run_id=folder.rpartition("/")[2],
        epoch=1,
        owner=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        ttl_s=ttl_s,
    )
    stopped = threading.Event()
    try:
        return _take(path, ours, progress, inherit, repair, stopped)
    except BaseException as error:
        if isinstance(error, TerminatedError) or not isinstance(error, Exception):
            stopped.set()  # a signal came, perhaps just when the lease was ours
            _leave(path, ours)
        raise


def _take(
    path: str,
    ours: Holder,
    progress: Progress,
    inherit: Callable[[dict[str, Any]], None],
    repair: bool,
    stopped: threading.Event,
) -> Lease:
    ttl_s = ours.ttl_s
    while True:
        stored = read_lease(path)
        if stored is None:
            ours = replace(ours, epoch=1, time=time.time(), progress=progress())
            create_if_absent(path, ours.to_bytes())
            stored = read_lease(path)
            if stored is not None and stored[0] == ours.to_bytes():
                return _taken(path, ours, stored[1], progress, stopped)
            continue
        data, version = stored
        try:
            holder = Holder.from_bytes(path, data)
        except DamagedRunError:
            if not repair:
                raise
            logger.warning("%s: damaged; watching it for %.0f s, then replacing it", path, ttl_s)
            if not _unchanged(path, version, ttl_s):
                continue  # somebody wrote it: perhaps it is whole now
            ours = replace(ours, epoch=_new_epoch(), time=time.time(), progress=progress())
            taken = replace_if_unchanged(path, ours.to_bytes(), version)
            if taken is not None:
                return _taken(path, ours, taken, progress, stopped)
            continue
        if holder.state != RELEASED and not _silent(path, holder, version, ttl_s):
            continue  # it was released, or is gone
        inherit(holder.progress)
        ours = replace(ours, epoch=holder.epoch + 1, time=time.time(), progress=progress())
        taken = _swap(path, ours, version)
        if taken is not None:
            if holder.state != RELEASED:
                logger.warning("%s: taken over from %s, which was silent", path, holder)
            return _taken(path, ours, taken, progress, stopped)


def _leave(path: str, ours: Holder) -> None:
    """Release a lease that was taken by an owner who does not know it."""
    try:
        stored = read_lease(path)
        now = None if stored is None else Holder.from_bytes(path, stored[0])
        if stored is not None and now is not None and now.owner == ours.owner:
            released = replace(now, state=RELEASED, beat=now.beat + 1, time=time.time())
            replace_if_unchanged(path, released.to_bytes(), stored[1])
    except RerankError as error:
        logger.debug("%s: not released (%s)", path, error)


def _new_epoch() -> int:
    """An epoch that no earlier owner had, where the last one's is not known.

    Owners count up from 1, or from an earlier such epoch; microseconds since 1970 are more than
    either, and exact in every reader's floating point.
    """
    return time.time_ns() // 1000


def _unchanged(path: str, version: str, seconds: float) -> bool:
    """Whether a file stays one version for so long."""
    until = time.monotonic() + seconds
    while True:
        left_s = until - time.monotonic()
        time.sleep(max(0.0, min(seconds / 20, 1.0, left_s)))
        stored = read_lease(path)
        if stored is None or stored[1] != version:
            return False
        if left_s <= 0:
            return True


def _taken(
    path: str, holder: Holder, version: str, progress: Progress, stopped: threading.Event
) -> Lease:
    failpoints.reached("lease.taken")
    return Lease(path, holder, version, progress, stopped)


def _silent(path: str, holder: Holder, version: str, ttl_s: float) -> bool:
    """True after a whole time-to-live without a change; False when the lease became free.

    Raises:
        LeaseHeldError: it was renewed, or somebody else took it.
    """
    wait_s = max(ttl_s, holder.ttl_s)
    logger.info("%s: held by %s; watching it for up to %.0f s", path, holder, wait_s)
    if _unchanged(path, version, wait_s):
        return True
    stored = read_lease(path)
    now = None if stored is None else Holder.from_bytes(path, stored[0])
    if now is None or now.state == RELEASED:
        return False
    raise LeaseHeldError(
        f"{path}: {now} is at work on this run; wait for it, or stop it and run the same command "
        "again"
    )


def _swap(path: str, holder: Holder, version: str) -> str | None:
    """Replace ``version`` of the lease, or None when it is no longer ours to replace.

    A renewal whose reply was lost for good may have landed; then the lease is not the version that
    we know, but still ours, and is renewed from there.
    """
    while True:
        swapped = replace_if_unchanged(path, holder.to_bytes(), version)
        if swapped is not None:
            return swapped
        stored = read_lease(path)
        if stored is None:
            return None
        now = Holder.from_bytes(path, stored[0])
        if now.owner != holder.owner:
            return None
        version = stored[1]
