"""Progress of a run: the counters of its committed units."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from pipeline.execution.runs.unit_counts import UnitCounts


@dataclass
class Progress:
    """Counters of a run; rates are of this session's work, not of units committed before it.

    Attributes:
        units: units of the run.
        documents_planned: documents of the run, as it was planned.
        units_done: committed units.
        units_done_now: those of this session.
        documents: their documents, scored, reused and quarantined.
        reasons: rows of the quarantine by reason.
        tokens: that went through the model in this session.
        resumed_documents: documents of units that were committed before this session.
        reused: documents whose score was taken from an earlier run.
        reused_now: those of this session's units.
        quarantined_now: documents without a score, of this session's units.
        started: when scoring began, by :func:`time.monotonic`.
    """

    units: int
    documents_planned: int
    units_done: int = 0
    units_done_now: int = 0
    documents: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    resumed_documents: int = 0
    reused: int = 0
    reused_now: int = 0
    quarantined_now: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, counts: UnitCounts, *, resumed: bool = False) -> None:
        """Count one committed unit."""
        self.units_done += 1
        self.documents += counts.documents
        for reason, number in counts.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + number
        self.reused += counts.reused or 0
        if resumed:
            self.resumed_documents += counts.documents
        else:
            self.units_done_now += 1
            self.tokens += counts.tokens
            self.reused_now += counts.reused or 0
            self.quarantined_now += counts.quarantined

    @property
    def elapsed_s(self) -> float:
        """Seconds since scoring began."""
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def scored_now(self) -> int:
        """Documents that this session put through the model; reused ones are none."""
        return self.documents - self.resumed_documents - self.reused_now

    @property
    def documents_per_s(self) -> float:
        """Documents that this session put through the model, per second."""
        return self.scored_now / self.elapsed_s
