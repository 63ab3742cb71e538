"""What a replica says of itself once a second, also in the middle of a unit.

These reports are for people who watch a run. Nothing is decided by them, one that is lost costs
detail until the next, and no unit waits for one: a thread of its own sends them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from pipeline.engine.batches import BatchesDone

logger = logging.getLogger("pipeline")

#: Seconds between two reports of a replica, and the silence past which one is taken for lost.
INTERVAL_S: Final = 1.0
SILENT_S: Final = 15.0

Send = Callable[["ReplicaReport"], None]


@dataclass(frozen=True, kw_only=True)
class ReplicaReport:
    """A replica at one moment.

    Attributes:
        replica: its name, which it keeps when its process is replaced; empty where it has none,
            and every process counts as a replica of its own.
        process: the process that it is now.
        host: the machine.
        device: kind and name, such as ``cpu`` or ``NVIDIA H200``; empty while the model is loaded.
        age_s: seconds since the process began to load the model.
        ready_s: seconds of these since it has loaded it.
        documents: that went through the model in this process.
        tokens: likewise.
        busy_s: seconds of work of the device.
        units: documents that are scored, of each unit at work and of those that ended since the
            report before.
        ended: whether this is the process's last report.
    """

    replica: str
    process: str
    host: str
    device: str = ""
    age_s: float = 0.0
    ready_s: float = 0.0
    documents: int = 0
    tokens: int = 0
    busy_s: float = 0.0
    units: dict[str, int] = field(default_factory=dict)
    ended: bool = False


@dataclass
class _Unit:
    documents: int
    sequences: int
    rounds: bool
    batches: BatchesDone

    @property
    def scored(self) -> int:
        """Documents whose sequences are through; where rounds follow, none before the last."""
        if self.rounds or not self.sequences:
            return 0
        return self.documents * min(self.batches.sequences, self.sequences) // self.sequences


class ReplicaReporter:
    """Counts what a replica does, and sends a report of it once a second.

    Args:
        send: takes a report, in a thread of the reporter or the one that makes it; None: nobody
            wants any.
        replica: see :class:`ReplicaReport`.
    """

    def __init__(self, send: Send | None, *, replica: str = "") -> None:
        self.process = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._replica = replica
        self._send = send
        self._began = time.monotonic()
        self._device = ""
        self._ready: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._documents = self._tokens = 0
        self._busy_s = 0.0
        self._at_work: dict[str, _Unit] = {}
        self._last: dict[str, int] = {}
        if send is not None:
            self._send_quietly()
            threading.Thread(target=self._run, name="reports", daemon=True).start()

    def ready(self, device: str) -> None:
        """The model is loaded.

        Args:
            device: kind and name.
        """
        self._device, self._ready = device, time.monotonic()
        self._send_quietly()

    @contextmanager
    def unit(
        self, name: str, *, documents: int, sequences: int, rounds: bool
    ) -> Iterator[BatchesDone]:
        """Count the batches of a unit while the body scores it.

        Args:
            name: the unit's.
            documents: that get a score by the body.
            sequences: of the first round.
            rounds: whether the family may ask for further rounds, of which nobody knows how many.
        """
        unit = _Unit(documents, sequences, rounds, BatchesDone())
        with self._lock:
            self._at_work[name] = unit
        try:
            yield unit.batches
        except BaseException:
            with suppress(Exception):  # a device that has failed cannot be asked how far it was
                self._ended_with(name, unit, 0)
            raise
        self._ended_with(name, unit, documents)

    def report(self, *, ended: bool = False) -> ReplicaReport:
        """How things stand now; units that ended are named once.

        Args:
            ended: whether nothing follows.
        """
        now = time.monotonic()
        with self._lock:
            last, self._last = self._last, {}
            scored = {name: unit.scored for name, unit in self._at_work.items()}
            at_work = [unit.batches for unit in self._at_work.values()]
            return ReplicaReport(
                replica=self._replica,
                process=self.process,
                host=socket.gethostname(),
                device=self._device,
                age_s=now - self._began,
                ready_s=0.0 if self._ready is None else now - self._ready,
                documents=self._documents + sum(scored.values()),
                tokens=self._tokens + sum(batches.tokens for batches in at_work),
                busy_s=self._busy_s + sum(batches.busy_s for batches in at_work),
                units=last | scored,
                ended=ended,
            )

    def close(self) -> None:
        """Send a last report, and no more."""
        self._ended.set()
        self._send_quietly(ended=True)

    def _ended_with(self, name: str, unit: _Unit, documents: int) -> None:
        with self._lock:
            del self._at_work[name]
            if self._send is not None:
                self._last[name] = documents
            self._documents += documents or unit.scored
            self._tokens += unit.batches.tokens
            self._busy_s += unit.batches.busy_s

    def _run(self) -> None:
        while not self._ended.wait(INTERVAL_S):
            self._send_quietly()

    def _send_quietly(self, *, ended: bool = False) -> None:
        if self._send is None:
            return
        try:
            self._send(self.report(ended=ended))
        except Exception as error:  # whoever listened has gone; the unit goes on
            logger.debug("a replica's report was not sent: %s", error)
