"""The state of a run as ``rerank status`` shows it, read from the run's own files only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from pipeline.candidates.planning import Plan
from pipeline.execution.runs import records
from pipeline.execution.runs.attempts import at_work
from pipeline.execution.runs.lease import RELEASED, Holder, read_holder
from pipeline.execution.runs.listing import Problem, strange_names, wrong_sizes
from pipeline.execution.runs.ranked_reader import published_manifest
from pipeline.execution.runs.run_folder import MANIFEST, RunFolder
from pipeline.execution.runs.unit_counts import (
    UnitCounts,
    total_reasons,
    total_reused,
    total_special_tokens,
)
from pipeline.execution.runs.verification import formats_of


def run_state(folder: RunFolder) -> dict[str, Any]:
    """The state of a run as plain data.

    The lease's age is by this machine's clock against its holder's, for people to look at; whether
    a driver lives is decided by watching the lease, which takes a while and is not done here.
    ``problems`` holds what a listing and the footers show of it; see
    :func:`pipeline.execution.runs.verification.audit` for the rest.

    Raises:
        NotFoundError: this is no run folder.
        DamagedRunError: a record that the state is made from is damaged; names it.
    """
    described, plan = folder.describe(), folder.plan()
    committed = set(folder.committed())
    finished, holder = folder.finished(), read_holder(folder.path)
    counts, problems = (_published if finished else _unpublished)(folder, plan, committed)
    begun = {marker.unit for marker in at_work(folder.path)} - committed
    reasons = total_reasons(counts)
    shown = {} if holder is None else holder.progress
    return {
        "folder": folder.path,
        "run_id": described["run_id"],
        "state": _state(finished, holder),
        "finished": finished,
        "model": described["model"]["name"],
        "units": len(plan.units),
        "units_committed": len(counts),
        "units_in_flight": len(begun),
        "units_failed": 0 if finished else int(shown.get("failed", 0)),
        "planned": plan.documents,
        "queries": sum(unit.queries for unit in counts),
        "documents": sum(unit.documents for unit in counts),
        "reused": total_reused(counts),
        "documents_per_s": None if finished else shown.get("documents_per_s"),
        "quarantined": sum(unit.quarantined for unit in counts),
        "reasons": reasons,
        "special_tokens": total_special_tokens(counts),
        "lease": None if holder is None else _lease(holder),
        "report": folder.report(),
        "problems": [asdict(problem) for problem in problems],
    }


def _published(
    folder: RunFolder, plan: Plan, _: set[str]
) -> tuple[list[UnitCounts], list[Problem]]:
    """By the manifest, which is sealed, and a listing."""
    manifest = published_manifest(folder)
    known = {item.name for item in fields(UnitCounts)}
    units = [
        UnitCounts(**{key: value for key, value in unit.items() if key in known})
        for unit in manifest["units"]
    ]
    if [unit.unit for unit in units] != [unit.name for unit in plan.units]:
        raise records.damaged(folder.file(MANIFEST), "it lists other units than plan.parquet")
    files = {file["key"]: file["size"] for unit in manifest["units"] for file in unit["files"]}
    formats = formats_of(folder.describe())
    return units, wrong_sizes(folder, files) + strange_names(folder, files, formats=formats)


def _unpublished(
    folder: RunFolder, plan: Plan, committed: set[str]
) -> tuple[list[UnitCounts], list[Problem]]:
    """By the footers of the units' files."""
    names = [unit.name for unit in plan.units if unit.name in committed]
    found = dict(zip(names, folder.counts(names, plan.run_id), strict=True))
    why = "damaged; the unit is scored again when the run goes on"
    damaged = [
        Problem(kind="damaged", path=folder.ranked(name), why=why)
        for name, counts in found.items()
        if counts is None
    ]
    strange = strange_names(
        folder, {}, [unit.name for unit in plan.units], formats_of(folder.describe())
    )
    return [counts for counts in found.values() if counts is not None], damaged + strange


def lines(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Headings and texts for a terminal."""
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
        yield "reused", f"{state['reused']:,} scores of an earlier run"
    if state["documents_per_s"] is not None:
        yield "speed", f"{state['documents_per_s']:,.0f} documents/s"
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


def told_of_special_tokens(found: dict[str, int]) -> str:
    """A sentence about candidates and queries that hold special tokens."""
    documents, queries = found.get("documents", 0), found.get("queries", 0)
    return (
        f"{documents:,} document{'s' * (documents != 1)} and {queries:,} "
        f"{'query' if queries == 1 else 'queries'} hold special tokens that act as such "
        "(model.settings.special_tokens)"
    )


def _report_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = report["unit_seconds"]
    yield (
        "session",
        f"{report['state']}; {report['units_done_now']} units in {report['seconds']:,.1f} s, "
        f"{report['documents_per_s']:,.0f} documents/s{_reused(report)}; "
        f"p50 {seconds['p50']:.1f} s, p95 {seconds['p95']:.1f} s a unit",
    )
    if report.get("staging"):
        staging = report["staging"]
        yield (
            "staged copy",
            f"{staging['strategy']}, {staging['parts']} files, "
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
            f"{agreement['documents']:,g} documents: largest difference {agreement['most']:.2g}, "
            f"overlap of the best {agreement['overlap']:.3f}, Kendall's tau {agreement['tau']:.3f}",
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
    return f"{holder.state} by {holder}"


def _lease(holder: Holder) -> dict[str, Any]:
    return {
        "holder": str(holder),
        "epoch": holder.epoch,
        "state": holder.state,
        "age_s": max(0.0, time.time() - holder.time),
        "ttl_s": holder.ttl_s,
    }


def _pairs(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:,g}" for name, number in numbers.items())
