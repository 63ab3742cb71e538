"""A night of a refresh: ``python -m jobs.refresh -c refresh.yaml``, or ``rerank refresh``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.refresh")

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from jobs.command import (
    AllowCode,
    ConfigFile,
    Date,
    Limit,
    LogForm,
    LogFormat,
    Overrides,
    PrintConfig,
    allowed,
    command,
    console,
    night_of,
    read_config,
    run_job,
    show_config,
)
from jobs.feed import show_fed
from jobs.rerank import show_outcome, show_plan, show_staging
from pipeline.candidates.reuse import ReuseTable
from pipeline.config import RefreshConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared
from pipeline.execution.run import begin_imports
from pipeline.execution.runs.garbage import Garbage
from pipeline.execution.staged_input import NotStagedError
from pipeline.plurals import counted
from pipeline.refresh.asked import Night, Refreshed, Standing, Watcher
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.feeding import Fed
from pipeline.refresh.gates.judging import GateResult
from pipeline.refresh.night import plan_night, refresh
from pipeline.refresh.publications.record import Publication


def refresh_lists(
    config: ConfigFile = None,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    date: Date = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be scored, and why; score nothing."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Reuse no score; everything is scored anew.")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="GATE",
            help="Publish although this gate fails (min_overlap ...); repeatable.",
        ),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="TEXT", help="Why; it stands in the publication."),
    ] = None,
    limit: Limit = None,
    allow_code: AllowCode = None,
    log_format: LogFormat = LogForm.TEXT,
) -> None:
    """Score what has changed since the last publication, publish what passes, feed what serves."""
    with command(log_format):
        job = read_config(RefreshConfig, config, overrides, limit=limit)
        if print_config:
            show_config(job)
            return
        night = Night(
            config=job,
            date=night_of(date),
            full=full,
            accept=frozenset(accept or ()),
            reason=reason,
            allow_code=allowed(allow_code),
        )
        if dry_run:
            _show_dry(night)
            return
        begin_imports(job.job(night.date))
        refresh(night, Shown())


def _show_dry(night: Night) -> None:
    """Show what a night would score, or how the copy would be made that has to be there before."""
    try:
        show_night(night)
    except NotStagedError as missing:
        show_staging(missing.staging)
    console.say("dry run: nothing was scored or published")


def show_night(night: Night) -> Prepared:
    """Plan a night, and say what it would do.

    Raises:
        NotStagedError: the copy of the input is not there yet, so nothing can be compared.
    """
    return plan_night(night, Shown())


class Shown(Watcher):
    """Says in a few lines what each step has come to."""

    def began(self, night: Night, standing: Standing) -> None:
        """Which night it is, and what is published."""
        now = standing.current
        if now is None:
            console.say(f"night      {night.date}; nothing is published yet")
        else:
            console.say(
                f"night      {night.date}; serving publication {now.sequence}: run {now.run_id} of "
                f"{now.date}"
            )

    def planned(self, prepared: Prepared) -> None:
        """What is read, how much of it is known, and what is to be scored."""
        show_plan(prepared)
        if prepared.reuse is not None:
            show_reuse(prepared.reuse)

    def ran(self, outcome: Outcome) -> None:
        """What the run did."""
        show_outcome(outcome)

    def compared(self, changes: Changes) -> None:
        """How much is different from what serves now."""
        told = changes.manifest["statistics"]
        rows, lists = told["changes"]["rows"], told["changes"]["lists"]
        console.say(
            f"changes    {counted(rows['new'], 'row')} new, {rows['changed']:,} changed, "
            f"{rows['gone']:,} gone; in {counted(sum(lists.values()), 'list')}"
        )

    def judged(self, results: Sequence[GateResult]) -> None:
        """What every gate has measured."""
        for result in results:
            console.say(f"{'gate' if result.passed else 'FAILED':<11}{result}")

    def published(self, publication: Publication, *, before: bool) -> None:
        """The publication that names the run."""
        already = ", before" if before else ""
        console.say(f"published  {publication.sequence}{already}: run {publication.run_id}")

    def fed(self, fed: Fed) -> None:
        """What came of one feed."""
        show_fed(fed)

    def retired(self, gone: Sequence[Garbage]) -> None:
        """How much was past its time."""
        kinds = Counter(thing.kind for thing in gone)
        if kinds:
            removed = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items()))
            console.say(f"retired    {removed}")

    def ended(self, done: Refreshed) -> None:
        """The night in a line."""
        manifest = done.outcome.manifest
        fresh = manifest["documents"] - done.outcome.reused - manifest["quarantined"]
        fed = f", {counted(len(done.fed), 'feed')} brought to it" if done.fed else ""
        console.say(
            f"done       {done.publication.date}: publication {done.publication.sequence} serves"
            f"{fed}; {fresh:,} of {manifest['documents']:,} documents scored, "
            f"{done.seconds:,.1f} s in all"
        )


def show_reuse(table: ReuseTable) -> None:
    """Say how today's documents divide, and what share of them reaches the model."""
    counts = table.counts["documents"]
    scored = counts["rescore"] + counts["new"]
    today = counts["reuse"] + scored
    aged = f" ({counts['expired']:,} too old)" if counts["expired"] else ""
    if table.why is not None:
        console.say(f"reuse      nothing: {table.why}")
    console.say(
        f"documents  {counts['reuse']:,} reuse, {counts['rescore']:,} rescore, {counts['new']:,} "
        f"new{aged}, {counts['gone']:,} gone"
    )
    console.say(f"to score   {scored:,} of {today:,} documents ({_share(scored, today)})")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def main() -> None:
    """Entry point of ``python -m jobs.refresh``."""
    run_job(refresh_lists)
