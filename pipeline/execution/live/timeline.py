"""A session's snapshots as curves: a few hundred points, however long it takes."""

from __future__ import annotations

from typing import Any, Final

from pipeline.execution.live.snapshot import STARTING, UP, Snapshot

#: Points that are kept at most; with one more every second one goes.
MOST: Final = 600


class Timeline:
    """An observer that keeps snapshots at even distances, and the last one."""

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []
        self._last: Snapshot | None = None
        self._every = 1
        self._seen = 0

    def __call__(self, now: Snapshot) -> None:
        """Look at a snapshot."""
        self._last = now
        if self._seen % self._every == 0:
            self._kept.append(now)
            if len(self._kept) > MOST:
                self._kept = self._kept[::2]
                self._every *= 2
        self._seen += 1

    def report(self) -> dict[str, list[Any]]:
        """For ``report.json``: a list of numbers for each curve, all of one length.

        Names are those of :class:`Snapshot`; its maps give ``quarantined`` in all, ``retries`` in
        all, and ``replicas_up`` and ``replicas_starting``.
        """
        points = list(self._kept)
        if self._last is not None and (not points or points[-1] is not self._last):
            points.append(self._last)
        plain = [point.as_dict() for point in points]
        curves: dict[str, list[Any]] = {name: [point[name] for point in plain] for name in _PLAIN}
        for name in ("quarantined", "retries"):
            curves[name] = [sum(point[name].values()) for point in plain]
        for state in (UP, STARTING):
            curves[f"replicas_{state}"] = [point["replicas"].get(state, 0) for point in plain]
        return curves


_PLAIN: Final = (
    "time",
    "elapsed_s",
    "waiting_for",
    "units_done",
    "units_in_flight",
    "documents",
    "documents_in_flight",
    "documents_scored",
    "tokens_scored",
    "documents_per_s",
    "tokens_per_s",
    "device_busy",
    "replica_seconds",
)
