"""Everything that a run's page shows, as plain data."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from pipeline.execution.report import sessions
from pipeline.execution.report.examples import COLUMNS, drawn, examples_of
from pipeline.execution.report.quarantined import quarantine_examples
from pipeline.execution.report.results import results_of
from pipeline.execution.report.texts import Texts, copied_column, texts_of_rows
from pipeline.execution.report.units import read_sample, rows_of, totals
from pipeline.execution.runs.holder import RELEASED, read_holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.reports.page.advice import FAILED, INTERRUPTED, PUBLISHED, RUNNING

#: Keys of ``report.json`` that :func:`gathered` makes.
GATHERED: Final = ("results", "quarantine_examples", "examples")

#: Input files that are listed; a run may have thousands.
_MOST_FILES: Final = 20


def gathered(
    folder: RunFolder, described: Mapping[str, Any], units: Collection[UnitCounts]
) -> dict[str, Any]:
    """What a sample of a run's rows shows: distributions, examples, what was not scored.

    Args:
        folder: the run.
        described: content of its ``run.json``.
        units: its committed units.
    """
    sample = read_sample(folder, described["run_id"], units)
    if sample is None:
        return {"results": None, "quarantine_examples": {}, "examples": []}
    queries = drawn(sample)
    column = copied_column(described)
    tables = list(
        rows_of(folder, sample.chosen, queries, [*COLUMNS, *([column] if column else [])])
    )
    texts = Texts()
    if column is not None:
        for table in tables:
            texts.documents.update(texts_of_rows(table, column).documents)
    return {
        "results": results_of(sample),
        "quarantine_examples": quarantine_examples(folder, units),
        "examples": examples_of(tables, queries, texts),
    }


def contents(
    folder: RunFolder,
    described: Mapping[str, Any],
    units: Collection[UnitCounts],
    report: Mapping[str, Any],
    *,
    state: str,
    planned: tuple[int, int],
) -> dict[str, Any]:
    """What a page shows of a run.

    Args:
        folder: the run.
        described: content of its ``run.json``.
        units: its committed units.
        report: content of its ``report.json``, with what :func:`gathered` gives; nothing where no
            session has ended yet.
        state: see :func:`state_of`.
        planned: units and documents of its plan.

    Returns:
        Plain data for :func:`pipeline.reports.page.render.render`; ``evaluation``,
        ``comparison`` and ``examples_note`` are None, for others to fill in.
    """
    told = {name: value for name, value in report.items() if name not in GATHERED}
    return {
        "made": time.time(),
        "folder": folder.path,
        "run_id": described["run_id"],
        "state": state,
        "error": report.get("error") if state != PUBLISHED else None,
        "run": {
            "model": {key: value for key, value in described["model"].items() if key != "files"},
            "config": described["config"],
            "fingerprint": described["fingerprint"],
            "versions": described["versions"],
            "units": described.get("units"),
            "staging": described.get("staging"),
            "reuse": described.get("reuse"),
            "input": described["input"][:_MOST_FILES],
            "input_files": len(described["input"]),
            "input_bytes": sum(int(file["size"]) for file in described["input"]),
        },
        "units_planned": planned[0],
        "documents_planned": planned[1],
        "totals": totals(units),
        "report": told,
        "stage_seconds": sessions.stage_seconds(report),
        "lengths": sessions.lengths(report).as_dict(),
        "truncation": sessions.truncation(report),
        "spent": sessions.spent(report),
        "results": report.get("results"),
        "quarantine_examples": report.get("quarantine_examples") or {},
        "examples": report.get("examples") or [],
        "examples_note": None,
        "evaluation": None,
        "comparison": None,
    }


def state_of(folder: RunFolder, report: Mapping[str, Any]) -> str:
    """State of a run by its folder, as a page heads it.

    A driver that is gone without a word is told from one at work only by watching its lease, which
    is not done here: until the lease is taken over, the run counts as running.

    Raises:
        DamagedRunError: the lease is damaged.
    """
    if folder.finished():
        return PUBLISHED
    holder = read_holder(folder.path)
    if holder is not None and holder.state != RELEASED:
        return RUNNING
    return FAILED if report.get("error") else INTERRUPTED
