"""The state of a run as ``rerank status`` shows it, read from the run's own files only."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from pipeline.execution.runs.holder import RELEASED, Holder, read_holder
from pipeline.execution.runs.listing import Entries, Problem
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state_counts import BY_DRIVER, BY_FILES, BY_MANIFEST, counts_of
from pipeline.execution.runs.verification import formats_of
from pipeline.plurals import counted
from pipeline.storage.store import list_entries


def run_state(folder: RunFolder, *, entries: Entries = list_entries) -> dict[str, Any]:
    """The state of a run as plain data.

    The lease's age is by this machine's clock against its holder's, for people to look at; whether
    a driver lives is decided by watching the lease, which takes a while and is not done here.
    ``counted_by`` says what the counts were made from, see
    :mod:`pipeline.execution.runs.state_counts`, and ``counted_at`` when, where that was a driver;
    what that does not know is None. ``problems`` holds what is seen on the way; see
    :func:`pipeline.execution.runs.verification.audit` for the rest. ``live`` is the driver's last
    snapshot (:class:`pipeline.execution.live.snapshot.Snapshot`), None where none is at work.

    Args:
        folder: the run.
        entries: lists a folder; may know what was listed a moment ago.

    Raises:
        NotFoundError: this is no run folder.
        DamagedRunError: a record that the state is made from is damaged; names it.
    """
    entries = cache(entries)
    described = folder.describe()
    plan = folder.plan(described)
    finished, holder = folder.finished(entries=entries), read_holder(folder.path)
    snapshot = {} if holder is None else holder.progress
    counts = counts_of(
        folder,
        plan,
        formats=formats_of(described),
        finished=finished,
        snapshot=snapshot,
        entries=entries,
    )
    at_work = holder is not None and holder.state != RELEASED and not finished
    return {
        "folder": folder.path,
        "run_id": described["run_id"],
        "state": _state(finished, holder),
        "finished": finished,
        "model": described["model"]["name"],
        "units": len(plan.units),
        "units_failed": 0 if finished else int(snapshot.get("units_suspected", 0)),
        "planned": plan.documents,
        **counts,
        "documents_per_s": None if finished else snapshot.get("documents_per_s"),
        "live": snapshot if at_work and snapshot else None,
        "lease": None if holder is None else _lease(holder),
        "report": folder.report(),
    }


def lines(state: dict[str, Any], live: Iterable[tuple[str, str]] = ()) -> Iterator[tuple[str, str]]:
    """Headings and texts for a terminal.

    Args:
        state: the state.
        live: headings and texts of the driver's last snapshot; those of which the state knows
            more are left out.
    """
    yield "run", state["folder"]
    yield "state", state["state"]
    for problem in state["problems"]:
        yield problem["kind"], str(Problem(**problem))
    yield "model", state["model"]
    yield (
        "units",
        f"{state['units_committed']} of {state['units']} committed, {state['units_in_flight']} in "
        f"flight, {state['units_failed']} failed",
    )
    yield "documents", f"{state['documents']:,} of about {state['planned']:,}"
    if state["reused"] is not None:
        yield "reused", f"{counted(state['reused'], 'score')} of an earlier run"
    if state["counted_by"] != BY_FILES:
        yield "counted", f"{_counted(state)}; --check looks at the units' files"
    yield from (row for row in live if row[0] not in _KNOWN)
    if state["quarantined"] is not None:
        yield "quarantined", f"{state['quarantined']:,}"
    for reason, number in state["reasons"].items():
        yield "", f"{reason}: {number:,}"
    if state["special_tokens"]:
        yield "special", told_of_special_tokens(state["special_tokens"])
    if state["lease"] is not None:
        lease = state["lease"]
        yield "driver", f"{lease['holder']}, {lease['state']}, renewed {lease['age_s']:.0f} s ago"
    if state["report"]:
        yield from _report_lines(state["report"])


def _counted(state: dict[str, Any]) -> str:
    if state["counted_by"] == BY_DRIVER:
        return f"by its driver, {max(0.0, time.time() - state['counted_at']):.0f} s ago"
    return "by its manifest" if state["counted_by"] == BY_MANIFEST else "by names alone"


#: Rows of a snapshot that a state has as well, by the files themselves.
_KNOWN: Final = frozenset({"units", "documents", "quarantined"})


def told_of_special_tokens(found: dict[str, int]) -> str:
    """A sentence about candidates and queries that hold special tokens."""
    documents, queries = found.get("documents", 0), found.get("queries", 0)
    return (
        f"{counted(documents, 'document')} and {counted(queries, 'query')} hold special tokens "
        "that act as such (model.settings.special_tokens)"
    )


def _report_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = report["unit_seconds"]
    yield (
        "session",
        f"{report['state']}; {counted(report['units_done_now'], 'unit')} in "
        f"{report['seconds']:,.1f} s, {report['documents_per_s']:,.0f} documents/s"
        f"{_reused(report)}; p50 {seconds['p50']:.1f} s, p95 {seconds['p95']:.1f} s a unit",
    )
    if report.get("staging"):
        staging = report["staging"]
        yield (
            "staged copy",
            f"{staging['strategy']}, {counted(staging['parts'], 'file')}, "
            f"{staging['bytes'] / 2**20:,.1f} MiB, "
            + (f"made in {staging['seconds']:,.1f} s" if staging["seconds"] else "made before"),
        )
    if report.get("startup"):
        yield "start", f"seconds until {_pairs(report['startup'])}"
    yield "CPU seconds", _pairs(report["cpu_seconds"])
    if report.get("device_busy") is not None:
        yield "device", f"busy {report['device_busy']:.0%} of the time from first to last unit"
    if report["storage"]:
        yield "store", _pairs(report["storage"])
    trouble = {
        "set aside": len(report["units_suspected"]),
        "repaired": len(report["units_repaired"]),
        "NOT DETERMINISTIC": len(report["units_not_deterministic"]),
        "rescored in float32": report["rescored_in_float32"],
    }
    if any(trouble.values()):
        yield "trouble", _pairs({name: number for name, number in trouble.items() if number})
    agreement = report.get("agreement")
    if agreement:
        yield (
            "agreement",
            f"of quantised scores with the reference's, worst of all replicas, on "
            f"{counted(agreement['documents'], 'document')}: largest difference "
            f"{agreement['most']:.2g}, overlap of the best {agreement['overlap']:.3f}, Kendall's "
            f"tau {agreement['tau']:.3f}",
        )
    if report["single_driver"]:
        yield "WARNING", "single-driver mode: this store kept no lease"


def _reused(report: dict[str, Any]) -> str:
    reused = report.get("documents_reused", 0)
    return f" and {reused:,} reused" if reused else ""


def _state(finished: bool, holder: Holder | None) -> str:
    if finished:
        return "finished"
    if holder is None or holder.state == RELEASED:
        return "not finished; run the job again to resume"
    if _age_s(holder) > holder.ttl_s:  # by two machines' clocks, so it is no more than a hint
        return (
            f"{holder.state} by {holder}, not heard of for more than {holder.ttl_s:g} s: it may be "
            "gone, then run the job again to resume"
        )
    return f"{holder.state} by {holder}"


def _lease(holder: Holder) -> dict[str, Any]:
    return {
        "holder": str(holder),
        "epoch": holder.epoch,
        "state": holder.state,
        "age_s": _age_s(holder),
        "ttl_s": holder.ttl_s,
    }


def _age_s(holder: Holder) -> float:
    """Seconds since the last renewal, by this machine's clock against the holder's."""
    return max(0.0, time.time() - holder.time)


def _pairs(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:,g}" for name, number in numbers.items())
