"""What a job will do and take: units, tokens, time and money: ``rerank plan -c job.yaml``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from jobs.ending import run_module

    run_module("jobs.plan")

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from jobs.command import (
    AllowCode,
    ConfigFile,
    Date,
    Limit,
    Overrides,
    allowed,
    command,
    console,
    night_of,
    read_any_job,
    run_job,
)
from jobs.refresh import show_reuse
from jobs.rerank import show_plan, show_staging
from pipeline.config import JobConfig, RefreshConfig
from pipeline.execution.earlier_order import earlier_order, warning_of
from pipeline.execution.forecasting import forecast_of
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.staged_input import NotStagedError
from pipeline.forecast.forecast import Asked, replaced_rates
from pipeline.forecast.plain import plain
from pipeline.forecast.sampling import DOCUMENTS
from pipeline.plain_text import redacted
from pipeline.refresh.asked import Night
from pipeline.refresh.night import plan_night
from pipeline.reports.forecast_table import devices_table, forecast_lines, warning_lines
from pipeline.staging.making import Staging

#: Units that are listed unless all are asked for.
_LISTED: Final = 8


def plan(
    config: ConfigFile = None,
    overrides: Overrides = None,
    limit: Limit = None,
    date: Date = None,
    sample: Annotated[
        int, typer.Option("--sample", min=1, help="Candidates that are tokenised, about.")
    ] = DOCUMENTS,
    gpu_rate: Annotated[
        list[str] | None,
        typer.Option(
            "--gpu-rate",
            metavar="TYPE=DOCS_PER_S",
            help="Documents/s of one GPU for this job, where you know better; repeatable.",
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="GPUs at the same time; default: as replicas say."),
    ] = None,
    qrels: Annotated[
        str | None,
        typer.Option(
            "--qrels",
            help="Judgements: was the last run of this model better than its first stage?",
        ),
    ] = None,
    units: Annotated[bool, typer.Option("--units", help="List every unit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    allow_code: AllowCode = None,
) -> None:
    """Show how a job's input is cut into units, what is done, and what the rest will take."""
    with command():
        job = read_any_job(config, overrides, limit=limit, date=date)
        asked = Asked(sample=sample, gpus=gpus, gpu_rates=replaced_rates(gpu_rate or []))
        try:
            prepared = _prepared(job, date, allowed(allow_code))
        except NotStagedError as missing:
            if as_json:
                typer.echo(json.dumps(described_staging(missing.staging), indent=2))
            else:
                show_staging(missing.staging)
                console.say("tokens     not estimated before the copy is there; see rerank inspect")
            return
        facts = plain(forecast_of(prepared, asked))
        if qrels is not None:
            facts["order"] = earlier_order(prepared, qrels)
            facts["warnings"] += filter(None, [warning_of(facts["order"])])
        if as_json:
            typer.echo(redacted(json.dumps(_described(prepared, facts), indent=2)))
        else:
            _show(prepared, facts, all_units=units)


def _prepared(
    job: JobConfig | RefreshConfig, date: datetime | None, consent: frozenset[str]
) -> Prepared:
    if isinstance(job, RefreshConfig):
        return plan_night(Night(config=job, date=night_of(date), allow_code=consent))
    return prepare(job, allow_code=consent, stage=False)


def _show(prepared: Prepared, facts: dict[str, Any], *, all_units: bool) -> None:
    show_plan(prepared)
    if prepared.reuse is not None:
        show_reuse(prepared.reuse)
    for line in forecast_lines(facts):
        console.say(line)
    console.say()
    console.print(devices_table(facts))
    console.say()
    for line in warning_lines(facts):
        console.say(line)
    rows = _unit_rows(prepared)
    shown = rows if all_units or len(rows) <= _LISTED + 1 else rows[:_LISTED]
    table = Table("unit", "rows", "documents", "state", box=None, pad_edge=False)
    for row in shown:
        state = "committed" if row["committed"] else "to do"
        table.add_row(
            str(row["unit"]), f"{row['start']}-{row['stop']}", f"{row['documents']:,}", state
        )
    console.print(table)
    if len(shown) < len(rows):
        done = sum(row["committed"] for row in rows)
        console.say(
            f"... {len(rows) - len(shown):,} more, {done:,} of {len(rows):,} committed; "
            "--units lists all"
        )


def _described(prepared: Prepared, facts: dict[str, Any]) -> dict[str, Any]:
    """Everything as plain data."""
    found: dict[str, Any] = {
        "run_id": prepared.plan.run_id,
        "folder": prepared.folder.path,
        "size": asdict(prepared.size),
        "replicas": str(prepared.placement),
    }
    if prepared.reuse is not None:
        known = prepared.reuse
        found["reuse"] = known.described() | {"why": known.why, "counts": known.counts}
    return found | {"forecast": facts, "units": _unit_rows(prepared)}


def _unit_rows(prepared: Prepared) -> list[dict[str, Any]]:
    committed = set(prepared.folder.committed())
    return [
        {
            "unit": unit.name,
            "start": unit.start,
            "stop": unit.stop,
            "documents": unit.documents,
            "committed": unit.name in committed,
        }
        for unit in prepared.plan.units
    ]


def described_staging(staging: Staging) -> dict[str, Any]:
    """The plan of a job whose staged copy is not there yet, as plain data."""
    return {
        "run_id": None,
        "units": [],
        "staging": {
            "folder": staging.folder.path,
            "strategy": None if staging.look is None else asdict(staging.look),
            "sources": [
                {"role": source.role, "format": source.format, "files": len(source.files),
                 "rows": source.rows, "size_bytes": source.size_bytes}
                for source in staging.sources.all
            ],
        },
    }  # fmt: skip


def main() -> None:
    """Entry point of ``python -m jobs.plan``."""
    run_job(plan)
