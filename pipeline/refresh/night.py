"""One night of a refresh: a function for each step, in the order of :func:`refresh`.

Any step may be the last one before a crash. The same night again takes all of them: each finds by
its content what it made before, makes what is missing, and so they come to the same publication.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC

from pipeline import failpoints
from pipeline.config.refresh import LEAST_KEPT
from pipeline.errors import ConfigurationError
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run import execute
from pipeline.execution.runs.garbage import Garbage
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.feeds.support.base import Feed
from pipeline.outputs.feeds.support.finding import build_all
from pipeline.refresh.asked import Night, Refreshed, Standing, Watcher
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.feeding import Fed, feed_targets
from pipeline.refresh.gates.check import check_names, measure, passed
from pipeline.refresh.gates.judgements import Judgements
from pipeline.refresh.gates.judging import GateResult
from pipeline.refresh.publications.publishing import publish
from pipeline.refresh.publications.reading import (
    current,
    current_before,
    manifest_digest,
    run_of,
)
from pipeline.refresh.publications.record import Publication, whoami
from pipeline.refresh.publications.retention import retire
from pipeline.refresh.reuse.making import Reuse
from pipeline.refresh.reuse.previous import Previous


def refresh(night: Night, watcher: Watcher | None = None) -> Refreshed:
    """A whole night, or what is left of it.

    Args:
        night: what is asked for.
        watcher: is told of each step.

    Raises:
        ConfigurationError: a later night is published, the run was rolled back, or a setting is
            wrong.
        GateError: a gate failed that was not accepted; nothing is published.
        PublishedMeanwhileError: another refresh has published since this one began.
        FeedError: targets failed; the run is published, and the same night again goes on with them.
        RerankError: as :func:`pipeline.execution.run.execute`.
    """
    begun, watcher = time.monotonic(), watcher or Watcher()
    section = night.config.refresh
    # What is wrong with these is said before a night's work.
    check_names(night.accept, night.reason, section.gates)
    judgements = Judgements.open(section.gates)
    feeds = build_all(section.feeds)
    with ExitStack() as staying:
        standing = look_up(night)
        watcher.began(night, standing)
        prepared = match(night, standing, staying)
        watcher.planned(prepared)
        outcome = execute(prepared)
        failpoints.reached("night.ran")
        watcher.ran(outcome)
    publication = published_before(night, standing, prepared.folder)
    if publication is None:
        changes = compare(night, standing, prepared.folder)
        failpoints.reached("night.compared")
        watcher.compared(changes)
        results = measured(night, standing, changes, prepared.folder, judgements)
        watcher.judged(results)
        publication = publish_run(night, standing, prepared.folder, results)
        failpoints.reached("night.published")
        watcher.published(publication, before=False)
    else:
        watcher.published(publication, before=True)
    fed = feed(night, feeds, watcher)
    failpoints.reached("night.fed")
    watcher.retired(remove_old(night))
    failpoints.reached("night.retired")
    assert prepared.reuse is not None
    done = Refreshed(
        table=prepared.reuse,
        outcome=outcome,
        publication=publication,
        fed=tuple(fed),
        seconds=time.monotonic() - begun,
    )
    watcher.ended(done)
    return done


def plan_night(night: Night, watcher: Watcher | None = None) -> Prepared:
    """A night as far as it can be told beforehand: nothing is scored, published or staged.

    The table of known scores is made, for only that says what is known; the night itself takes it.

    Raises:
        NotStagedError: the input needs a staged copy that is not there yet.
        RerankError: see :func:`refresh`.
    """
    watcher = watcher or Watcher()
    build_all(night.config.refresh.feeds)
    with ExitStack() as staying:
        standing = look_up(night)
        watcher.began(night, standing)
        prepared = match(night, standing, staying, stage=False)
        watcher.planned(prepared)
    return prepared


def look_up(night: Night) -> Standing:
    """What is published.

    Raises:
        ConfigurationError: something of a later night is.
        DamagedRunError: a publication is not as it was written.
    """
    now = current(night.root)
    if now is not None and night.date < now.date:
        raise ConfigurationError(
            f"--date {night.date}: publication {now.sequence} of {now.date} serves already, and an "
            "earlier night is not published over it; `rerank rollback` goes back to one that was"
        )
    return Standing(current=now, base=current_before(night.root, night.date))


def match(night: Night, standing: Standing, staying: ExitStack, *, stage: bool = True) -> Prepared:
    """The run of the night: its input opened, and the scores that are known of it looked up.

    Args:
        night: what is asked for.
        standing: what is published.
        staying: takes Ray over, where it is started.
        stage: whether a copy of the input may be made.
    """
    job = night.config.job(night.date)
    reuse = Reuse(
        config=job,
        previous=None if night.full else _previous(night, standing),
        date=night.date,
        max_age_days=night.config.refresh.max_age_days,
        staying=staying,
    )
    if night.full:
        reuse = replace(reuse, why_not="--full was given")
    prepared = prepare(job, allow_code=night.allow_code, staying=staying, stage=stage, reuse=reuse)
    failpoints.reached("night.matched")
    return prepared


def _previous(night: Night, standing: Standing) -> Previous | None:
    """The run whose scores are reused; None on the first night."""
    base = standing.base
    if base is None:
        return None
    folder = run_of(night.root, base)
    return Previous(folder=folder, manifest_sha256=base.manifest_sha256, sequence=base.sequence)


def published_before(night: Night, standing: Standing, folder: RunFolder) -> Publication | None:
    """The current publication, where it is of this very night and run already."""
    now = standing.current
    run_id = folder.path.rpartition("/")[2]
    if now is None or now.date != night.date or not now.says(run_id, manifest_digest(folder)):
        return None
    return now


def compare(night: Night, standing: Standing, folder: RunFolder) -> Changes:
    """What is different from what serves now; on the first night all is new."""
    now = standing.current
    before = None if now is None else run_of(night.root, now)
    return make_changes(night.root, before, folder, night.config)


def measured(
    night: Night,
    standing: Standing,
    changes: Changes,
    folder: RunFolder,
    judgements: Judgements | None,
) -> tuple[GateResult, ...]:
    """Every gate that is on, with what was measured."""
    now = standing.current
    return measure(
        night.config.refresh.gates,
        changes,
        None if now is None else run_of(night.root, now),
        folder,
        night.config,
        judgements=judgements,
    )


def publish_run(
    night: Night, standing: Standing, folder: RunFolder, results: Sequence[GateResult]
) -> Publication:
    """Make the run the current one, if it passes its gates or they are accepted.

    Raises:
        GateError: a gate failed that was not accepted.
        PublishedMeanwhileError: another refresh has published since this one began.
    """
    accepted = passed(
        results,
        accept=night.accept,
        by=whoami(),
        at=datetime.datetime.now(UTC).isoformat(),
        why=night.reason,
    )
    return publish(
        night.root,
        folder,
        after=None if standing.current is None else standing.current.sequence,
        date=night.date,
        gates={result.name: result.record() for result in results},
        accepted=[one.record() for one in accepted],
    )


def feed(night: Night, feeds: Sequence[Feed], watcher: Watcher) -> list[Fed]:
    """Bring what serves to the publication.

    Raises:
        FeedError: targets failed; says which, and at which generation they stand.
    """
    if not feeds:
        return []

    def make(before: RunFolder | None, after: RunFolder) -> Changes:
        return make_changes(night.root, before, after, night.config)

    lease = night.config.lease
    return feed_targets(night.root, feeds, make=make, lease=lease, said=watcher.fed)


def remove_old(night: Night) -> list[Garbage]:
    """Remove publications past their time, and what nothing else names."""
    kept = night.config.refresh.retention
    if kept.keep_last is None and kept.keep_days is None:
        return []
    return retire(
        night.root,
        keep_last=kept.keep_last or LEAST_KEPT,
        keep_days=kept.keep_days,
        now=datetime.datetime.now(UTC),
        delete=True,
    )
