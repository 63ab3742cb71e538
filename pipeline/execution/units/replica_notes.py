"""What replicas say of themselves beside each unit that they scored: for the run's report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pipeline.execution.units import rows
from pipeline.rerankers.base import WeightedReranker

if TYPE_CHECKING:
    from pipeline.engine.engine import Engine


def notes_of(engine: Engine, *, ready: float, load_s: float) -> rows.Statistics:
    """A replica's notes, to go with a unit.

    Args:
        engine: its engine.
        ready: when it had its network, by :func:`time.time`.
        load_s: seconds that this took, trials and compilation among them.
    """
    notes: rows.Statistics = {
        rows.REPLICA: {
            rows.READY: ready,
            rows.LOAD_S: load_s,
            rows.TOKEN_BUDGET: engine.token_budget,
        }
    }
    if isinstance(engine.reranker, WeightedReranker) and engine.device.type == "cuda":
        # Elsewhere nothing is compiled and no kernel is chosen.
        from pipeline.networks.attention.kernels import chosen
        from pipeline.networks.fusing import compilations
        from pipeline.networks.refusals import refusals

        notes[rows.REPLICA][rows.COMPILATIONS] = compilations()
        notes[rows.REFUSALS] = {f"{what}: {why}": 1 for what, why in refusals().items()}
        notes[rows.KERNELS] = {f"{name}: {kind}": 1 for kind, name in chosen().items()}
    return notes


class ReplicaNotes:
    """The notes of all replicas of a session."""

    def __init__(self) -> None:
        self._budgets: Counter[int] = Counter()
        self._kernels: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._load_s = 0.0
        self._compilations = 0

    def take(self, stats: rows.Statistics) -> float | None:
        """Take a replica's notes out of a unit's statistics, which are added up otherwise.

        Returns:
            When the replica had its network, by :func:`time.time`; None where none scored the unit.
        """
        self._kernels.update(dict.fromkeys(stats.pop(rows.KERNELS, {}), 1))
        self._refusals.update(dict.fromkeys(stats.pop(rows.REFUSALS, {}), 1))
        notes = stats.pop(rows.REPLICA, None)
        if notes is None:
            return None
        self._budgets[int(notes[rows.TOKEN_BUDGET])] += 1
        self._load_s = max(self._load_s, notes[rows.LOAD_S])
        self._compilations = max(self._compilations, int(notes.get(rows.COMPILATIONS, 0)))
        return notes[rows.READY]

    def report(self) -> dict[str, Any]:
        """For ``report.json``: the longest load, the most compilations, and units by choice.

        ``units_by_refusal`` names what was to be fast on a GPU and ran in a slower way, with the
        reason.
        """
        return {
            "load_s": round(self._load_s, 2),
            "compilations": self._compilations,
            "units_by_token_budget": {str(n): units for n, units in self._budgets.items()},
            "units_by_attention": dict(sorted(self._kernels.items())),
            "units_by_refusal": dict(sorted(self._refusals.items())),
        }
