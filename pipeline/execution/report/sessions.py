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
)


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """What later reports keep of one."""
    return {name: report[name] for name in _KEPT if name in report}


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
    """GPU-hours and cost of all sessions, as the last report counts them.

    Returns:
        ``gpu_hours``; ``cost``, lowest and highest, by the prices of the last session; its
        ``currency``. None where that is not known.
    """
    found = report.get("spent") or {}
    return {name: found.get(name) for name in ("gpu_hours", "cost", "currency")}
