"""Makes a session's snapshots of what its driver counts and what its replicas report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from pipeline.execution.ledger import Ledger
from pipeline.execution.live import snapshot as live
from pipeline.execution.live.rates import LONG_S, Rates
from pipeline.execution.live.replicas import Replicas, Totals
from pipeline.execution.live.snapshot import Snapshot

#: Prices replicas: their seconds by the name of the device (``cpu``, ``NVIDIA H200``; empty for
#: those that have not loaded the model yet) -> low and high, or None where no price is known.
CostOf = Callable[[Mapping[str, float]], tuple[float, float] | None]

#: Hours of devices of the whole run, of the same seconds.
HoursOf = Callable[[Mapping[str, float]], dict[str, float]]

_SCORED: Final = "scored"
_TOKENS: Final = "tokens"
_THROUGH: Final = "through"
_BUSY: Final = "busy"
_READY: Final = "ready"


#: Seconds without a unit in any replica after which that is what a driver waits for.
_HELD_BACK_S: Final = 60.0


class Measuring:
    """The numbers of one session.

    Attributes:
        replicas: takes the reports of replicas.
        renewals: how often the lease was renewed; set once there is one.
        cost_of: what replicas cost; None: no price is known.
        currency: of that cost.
        hours_of: what the run's replicas took of their devices; None: nobody asks.

    Args:
        ledger: of the session.
        num_gpus: GPUs of a replica.
    """

    def __init__(self, ledger: Ledger, *, num_gpus: float) -> None:
        self.replicas = Replicas()
        self.renewals: Callable[[], int] = lambda: 0
        self.cost_of: CostOf | None = None
        self.currency = ""
        self.hours_of: HoursOf | None = None
        self._ledger = ledger
        self._num_gpus = num_gpus
        self._rates = Rates()
        self._at_work = time.monotonic()  # when a replica last had a unit, or none was waited for

    def snapshot(self, phase: str) -> Snapshot:
        """The session now.

        Args:
            phase: what the driver waits for.
        """
        ledger = self._ledger
        progress = ledger.progress
        total = self.replicas.total(lambda unit: unit in ledger.units or unit in ledger.suspects)
        begun = sum(total.in_flight.values())
        # Reports may be late or lost; what is committed was scored.
        scored = max(total.documents, progress.scored_now - progress.quarantined_now)
        tokens = max(total.tokens, progress.tokens)
        through = progress.documents - progress.resumed_documents + begun
        if not (through or tokens):
            self._rates.forget()  # rates are of the work, not of the wait for it
        self._rates.note(
            {
                _SCORED: scored,
                _TOKENS: tokens,
                _THROUGH: through,
                _BUSY: total.busy_s,
                _READY: total.ready_s,
            }
        )
        replica_s = sum(total.seconds.values())
        return Snapshot(
            time=time.time(),
            elapsed_s=progress.elapsed_s,
            waiting_for=self._waiting_for(phase, total),
            units=progress.units,
            units_done=progress.units_done,
            units_in_flight=len(total.in_flight),
            units_suspected=len(ledger.suspects),
            documents_planned=progress.documents_planned,
            documents=progress.documents,
            documents_in_flight=begun,
            documents_scored=scored,
            tokens_scored=tokens,
            documents_per_s=self._rates.per_s(_SCORED),
            tokens_per_s=self._rates.per_s(_TOKENS),
            reused=progress.reused,
            quarantined=dict(progress.reasons),
            retries={**ledger.retries(), live.WORKER_DIED: total.died},
            device_busy=self._busy(),
            replicas=total.states,
            nodes=total.nodes,
            replica_seconds=replica_s,
            gpu_hours=replica_s * self._num_gpus / 3600,
            device_hours={} if self.hours_of is None else self.hours_of(total.seconds),
            cost=None if self.cost_of is None else self.cost_of(total.seconds),
            currency=self.currency,
            left_s=self._left_s(progress.documents_planned - progress.documents - begun),
            lease_renewals=self.renewals(),
        )

    def _waiting_for(self, phase: str, total: Totals) -> str:
        """The phase; while units are waited for, what of them is there already."""
        now, up = time.monotonic(), total.states[live.UP] > 0
        begun = self._ledger.progress.units_done_now > 0
        if phase != live.UNITS or total.in_flight or not (up or begun):
            self._at_work = now
        if phase != live.UNITS:
            return phase
        if now - self._at_work >= _HELD_BACK_S:
            return live.HELD_BACK if up else live.MODEL
        if begun:
            return phase
        return live.FIRST_UNIT if up else live.MODEL

    def _busy(self) -> float | None:
        busy_s, _ = self._rates.grown(_BUSY)
        ready_s, _ = self._rates.grown(_READY)
        return min(1.0, busy_s / ready_s) if ready_s > 0 else None

    def _left_s(self, documents: int) -> float | None:
        rate = self._rates.per_s(_THROUGH, LONG_S)
        return max(documents, 0) / rate if rate > 0 else None
