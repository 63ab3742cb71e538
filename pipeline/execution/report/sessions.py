"""The earlier sessions of a run, in short: a run that was resumed is reported as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.sequences.lengths import LengthHistogram

#: Earlier sessions that a report keeps, the last ones.
_MOST: Final = 50

#: What is kept of one.
_KEPT: Final = (
    "state",
    "epoch",
    "started",
    "ended",
    "error",
    "place",
    "seconds",
    "documents_per_s",
    "units_done_now",
    "stage_seconds",
    "lengths",
    "truncation",
    "gpu_hours",
    "cost",
)


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """What later reports keep of one."""
    kept = {name: report[name] for name in _KEPT if name in report}
    last = report.get("last") or {}
    return kept | {name: last[name] for name in ("gpu_hours", "cost") if name in last}


def earlier(before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``sessions`` of a new report: those that the one before kept, and that one itself."""
    if not before:
        return []
    return [*before.get("sessions", []), summary(before)][-_MOST:]


def stage_seconds(report: Mapping[str, Any]) -> dict[str, float]:
    """Of all sessions together, by what units were at."""
    total: dict[str, float] = {}
    for session in (*report.get("sessions", ()), report):
        for name, seconds in (session.get("stage_seconds") or {}).items():
            total[name] = total.get(name, 0.0) + seconds
    return total


def lengths(report: Mapping[str, Any]) -> LengthHistogram:
    """Sequences of all sessions by length."""
    total = LengthHistogram()
    for session in (*report.get("sessions", ()), report):
        total = total.add(LengthHistogram.from_dict(session.get("lengths") or {}))
    return total


def truncation(report: Mapping[str, Any]) -> dict[str, int] | None:
    """Documents that families told of and cut, in all sessions; None where none told."""
    found = [
        session["truncation"]
        for session in (*report.get("sessions", ()), report)
        if session.get("truncation")
    ]
    if not found:
        return None
    return {name: sum(each[name] for each in found) for name in ("documents", "truncated")}


def spent(report: Mapping[str, Any]) -> dict[str, Any]:
    """GPU-hours and cost of all sessions, as far as they are known.

    Returns:
        ``gpu_hours``; ``cost``, lowest and highest; None where no session says it.
    """
    all_of_them = [*report.get("sessions", ()), summary(report)]
    hours = [s["gpu_hours"] for s in all_of_them if s.get("gpu_hours") is not None]
    costs = [s["cost"] for s in all_of_them if s.get("cost") is not None]
    return {
        "gpu_hours": sum(hours) if hours else None,
        "cost": [sum(c[0] for c in costs), sum(c[1] for c in costs)] if costs else None,
    }
