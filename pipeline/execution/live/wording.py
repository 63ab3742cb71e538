"""Snapshots in words: the rows of a dashboard and of ``rerank status``, and one line of a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.execution.live import snapshot as live
from pipeline.execution.live.snapshot import Snapshot
from pipeline.plurals import counted

#: What a person is told for each phase of a driver.
_WAITS: dict[str, str] = {
    live.LEASE: "the run's lease",
    live.FINISHED_UNITS: "the units that are there already to be counted",
    live.WORKERS: "workers to start",
    live.MODEL: "a replica to load the model",
    live.FIRST_UNIT: "the first unit of this session",
    live.UNITS: "units",
    live.HELD_BACK: "a unit to score, which no replica has had for a minute: reading and encoding "
    "take that long, or Ray holds tasks back for want of memory or CPUs",
    live.SUSPECTS: "units that failed, each tried in a process of its own",
    live.LAST_UNITS: "units at work, before it stops as it was asked to",
    live.CHECK: "the check of all units before publication",
    live.PUBLICATION: "the publication",
    live.DONE: "nothing, it is done",
    live.STOPPED: "nothing, it has stopped",
}


def rows(now: Snapshot) -> Iterator[tuple[str, str]]:
    """Headings and texts; those of which there is nothing to say are left out."""
    flight = f", {now.units_in_flight:,} in flight" if now.units_in_flight else ""
    aside = f", {now.units_suspected:,} set aside" if now.units_suspected else ""
    yield "units", f"{now.units_done:,} of {now.units:,} committed{flight}{aside}"
    yield "documents", _documents(now)
    speed = f"{now.documents_per_s:,.0f} documents/s, {now.tokens_per_s:,.0f} tokens/s"
    yield "speed", speed
    if now.device_busy is not None and now.device_starved is not None:
        yield "device", f"busy {now.device_busy:.0%}, starved {now.device_starved:.0%}"
    if now.replicas.get(live.WANTED):
        yield "replicas", _replicas(now)
    yield "quarantined", _counted(now.quarantined)
    if any(now.retries.values()):
        yield "retries", _counted({kind: n for kind, n in now.retries.items() if n})
    spent = _spent(now)
    if spent:
        yield "cost", spent
    left = "" if now.left_s is None else f", about {duration(now.left_s)} left"
    yield "time", f"{duration(now.elapsed_s)}{left if now.waiting_for == live.UNITS else ''}"
    yield "waiting for", waits_for(now)


def line(now: Snapshot) -> str:
    """One line for a log."""
    flight = f" (+{now.units_in_flight} in flight)" if now.units_in_flight else ""
    parts = [
        f"units {now.units_done}/{now.units}{flight}",
        f"{now.documents + now.documents_in_flight:,} of about {now.documents_planned:,} documents",
    ]
    if now.reused:
        parts.append(f"{now.reused:,} reused")
    if now.documents_scored:
        parts += [f"{now.documents_per_s:,.0f}/s", f"{now.tokens_per_s:,.0f} tokens/s"]
    if now.left_s is not None and now.waiting_for in (live.FIRST_UNIT, live.UNITS):
        parts.append(f"left {duration(now.left_s)}")
    if now.device_busy is not None:
        parts.append(f"device busy {now.device_busy:.0%}")
    parts.append(f"quarantined {sum(now.quarantined.values()):,}")
    if any(now.retries.values()):
        parts.append(f"retries {_counted({kind: n for kind, n in now.retries.items() if n})}")
    if now.waiting_for in (live.DONE, live.STOPPED):
        parts.append(now.waiting_for)
    elif now.waiting_for != live.UNITS:
        parts.append(f"waiting for {waits_for(now)}")
    return ", ".join(parts)


def waits_for(now: Snapshot) -> str:
    """What the driver waits for, as a sentence goes on."""
    return _WAITS.get(now.waiting_for, now.waiting_for)


def duration(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _documents(now: Snapshot) -> str:
    text = f"{now.documents:,} of about {now.documents_planned:,}"
    if now.documents_in_flight:
        text += f", {now.documents_in_flight:,} more scored"
    return text + (f", {now.reused:,} reused" if now.reused else "")


def _replicas(now: Snapshot) -> str:
    up, starting = now.replicas.get(live.UP, 0), now.replicas.get(live.STARTING, 0)
    text = f"{up} of {now.replicas[live.WANTED]} up"
    if starting:
        text += f", {starting} starting"
    if now.nodes:
        text += f", on {counted(now.nodes, 'node')}"
    return text


def _counted(numbers: Mapping[str, int]) -> str:
    total = sum(numbers.values())
    named = ", ".join(f"{name} {number:,}" for name, number in numbers.items())
    return named if len(numbers) == 1 else f"{total:,}" + (f": {named}" if named else "")


def _spent(now: Snapshot) -> str:
    hours = f"{now.gpu_hours:,.2f} GPU-hours" if now.gpu_hours else ""
    if now.cost is None:
        return hours
    low, high = (f"{part:,.2f}" for part in now.cost)
    money = f"{low if low == high else f'{low} to {high}'} {now.currency}".rstrip()
    return f"{hours}, {money}" if hours else money
