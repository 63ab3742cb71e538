"""Targets that serve rankings, brought to the current publication one after the other.

A target is asked what it holds. It gets the changes from there, or everything where it holds
nothing, or what it holds is retired. What was put is recorded after each part, so that a delivery
that was cut off goes on, also when another publication came meanwhile: a target that was changed in
part must not be taken for what it was before::

    <output.path>/_feeds/<16 hex digits of the feed's name>/
        progress.json    the delivery that was begun last, and how far it came
        lease.json       who is at it (pipeline.execution.runs.lease)

A target that fails undoes nothing: the publication stands, other targets are fed, and the next call
goes on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from pipeline import failpoints, schema
from pipeline.config import LeaseConfig
from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    FeedError,
    NotFoundError,
    RerankError,
)
from pipeline.execution.runs.lease import Lease, NoLease, take
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.refresh.feed_progress import FOLDER, Progress, read_progress, settings_digest
from pipeline.refresh.publications.reading import current, publication, root_of, run_of
from pipeline.refresh.publications.record import Publication
from pipeline.storage.probe import probe
from pipeline.storage.store import join

logger = logging.getLogger("pipeline")

#: Columns of changed rows that are not carried ones.
_OWN = (
    schema.QUERY_ID, schema.DOC_ID, schema.CHANGE, schema.RANK, schema.SCORE,
    schema.PREVIOUS_RANK, schema.PREVIOUS_SCORE, schema.REASON,
)  # fmt: skip


class ChangesLike(Protocol):
    """What is read of :class:`pipeline.refresh.changes.folder.Changes`."""

    @property
    def parts(self) -> Sequence[ChangePart]:
        """In order, numbered from 0."""


#: Makes the changes between two runs of an output folder, or opens those that are there.
Make = Callable[[RunFolder | None, RunFolder], ChangesLike]


@dataclass(frozen=True, kw_only=True)
class Fed:
    """What came of one feed.

    Attributes:
        name: of the feed.
        before: the generation that the target held; None: none, or it could not say.
        generation: the one that it holds now.
        failure: why it is not the current publication's; None where it is.
    """

    name: str
    before: int | None
    generation: int | None
    failure: Exception | None = None


def feed_targets(
    root: str,
    feeds: Sequence[Feed],
    *,
    make: Make,
    lease: LeaseConfig,
    full: bool = False,
    said: Callable[[Fed], object] = lambda fed: None,
) -> list[Fed]:
    """Bring every target to the current publication.

    Args:
        root: ``output.path``.
        feeds: the targets; closed in the end.
        make: makes changes.
        lease: how a feed is kept to one driver.
        full: load everything, whatever a target holds.
        said: is told of each feed, when it is done or has failed.

    Raises:
        NotFoundError: nothing is published.
        FeedError: targets failed; says why, and at which generation each one stands.
    """
    root = root_of(root)
    goal = current(root)
    if goal is None:
        raise NotFoundError(f"{root}: nothing is published here; run `rerank refresh` first")
    leases = _Leases(root, lease)
    done = []
    for feed in feeds:
        done.append(_fed(_Target(root=root, feed=feed, make=make), goal, leases, full=full))
        said(done[-1])
    failed = [fed for fed in done if fed.failure is not None]
    if failed:
        standing = "; ".join(
            f"'{fed.name}' stands at {fed.generation or 'no generation'}: {_why(fed)}"
            for fed in failed
        )
        raise FeedError(
            f"{len(failed)} of {len(done)} feeds did not come to generation {goal.sequence}: "
            f"{standing}. The publication stands; `rerank feed` continues"
        )
    return done


def _fed(target: _Target, goal: Publication, leases: _Leases, *, full: bool) -> Fed:
    feed, before, holds = target.feed, None, None
    try:
        with leases.held(target.folder) as lease:
            before = holds = feed.held()
            while (step := target.next_step(holds, goal, full=full)) is not None:
                target.deliver(step, lease)
                holds, full = step.generation, False
            return Fed(name=feed.name, before=before, generation=holds)
    except Exception as error:  # whatever it is: the other targets are fed all the same
        if not isinstance(error, RerankError):
            logger.exception("feed '%s' failed", feed.name)
        return Fed(name=feed.name, before=before, generation=holds, failure=error)
    finally:
        try:
            feed.close()
        except Exception as error:  # what it was for is done, or has failed with its own reason
            logger.warning("feed '%s': not closed: %s", feed.name, error)


def _why(fed: Fed) -> str:
    kind = "" if isinstance(fed.failure, RerankError) else f"{type(fed.failure).__name__}: "
    return f"{kind}{fed.failure}".rstrip(".")


@dataclass(frozen=True)
class _Step:
    """One delivery that is due: from ``base`` (None: a full load) to ``generation``."""

    base: int | None
    generation: int
    switched: bool = False  # only what is left to be removed is left


@dataclass(frozen=True, kw_only=True)
class _Target:
    """One feed of an output folder."""

    root: str
    feed: Feed
    make: Make

    @property
    def folder(self) -> str:
        """Of its progress; named as the lease wants it, which is that of a run."""
        name = hashlib.sha256(self.feed.name.encode()).hexdigest()[:16]
        return join(self.root, FOLDER, name)

    def next_step(self, held: int | None, goal: Publication, *, full: bool) -> _Step | None:
        """What is due next; None: the target holds the publication, and nothing was left over.

        Args:
            held: generation that the target holds.
            goal: the publication to come to.
            full: whether a full load was asked for.

        Raises:
            FeedError: the target was brought to where it is from another folder.
        """
        begun = read_progress(self.folder)
        if full:
            return _Step(None, goal.sequence)
        if held is not None and (begun is None or held > goal.sequence):
            why = (
                "this folder has never fed it"
                if begun is None
                else f"the last publication is {goal.sequence}"
            )
            raise FeedError(
                f"feed '{self.feed.name}': the target holds generation {held}, but in {self.root} "
                f"{why}. Is it fed from another folder? `rerank feed --full` loads this one's in "
                "its place"
            )
        if begun is not None and not self._is_of_these(begun):
            return _Step(None, goal.sequence)
        if begun is not None and not begun.finished and self._goes_on(begun, held, goal):
            switched = begun.base is not None and held == begun.generation
            return _Step(begun.base, begun.generation, switched)
        if held == goal.sequence:
            return None
        return _Step(held if held and self._is_there(held) else None, goal.sequence)

    def deliver(self, step: _Step, lease: Lease | NoLease) -> None:
        """One delivery, or the rest of it."""
        after = publication(self.root, step.generation)
        parts = self._parts(step, after)
        columns = parts[0].rows().schema if parts else pa.schema([])
        delivery = Delivery(
            generation=step.generation,
            base=step.base,
            parts=len(parts),
            columns=[name for name in columns.names if name not in _OWN],
            schema=columns,
            run_id=after.run_id,
            date=after.date.isoformat(),
        )
        fresh = Progress(
            feed=self.feed.name,
            settings=settings_digest(self.feed),
            generation=step.generation,
            base=step.base,
            run_id=after.run_id,
            parts=len(parts),
        )
        progress = read_progress(self.folder) or fresh
        resumed = replace(delivery, resumed=True)
        if fresh.same_delivery(progress) and progress.done and self.feed.keeps(resumed):
            delivery = resumed
        else:
            progress = fresh
        if not step.switched:
            progress = self._put(parts, delivery, progress, lease)
            lease.fence()
            self.feed.switch(delivery)
            failpoints.reached("feed.switched")
        lease.fence()  # what is cleaned away may be what a later driver has put
        self.feed.clean(delivery)
        failpoints.reached("feed.cleaned")
        replace(progress, finished=True).write(self.folder)

    def _put(
        self,
        parts: Sequence[ChangePart],
        delivery: Delivery,
        progress: Progress,
        lease: Lease | NoLease,
    ) -> Progress:
        """Put the parts that are left, each on record when it is put.

        Raises:
            FencedError: another driver has taken over; what it puts is not overwritten.
        """
        lease.fence()
        progress.write(self.folder)
        failpoints.reached("feed.recorded")
        self.feed.begin(delivery)
        failpoints.reached("feed.begun")
        for number in range(progress.done, len(parts)):
            self.feed.put(number, parts[number], delivery)
            failpoints.reached("feed.part_put")
            lease.fence()
            progress = replace(progress, done=number + 1)
            progress.write(self.folder)
            failpoints.reached("feed.part_recorded")
        return progress

    def _parts(self, step: _Step, after: Publication) -> Sequence[ChangePart]:
        if step.base is None:
            return self.make(None, run_of(self.root, after)).parts
        before = publication(self.root, step.base)
        if (before.run_id, before.manifest_sha256) == (after.run_id, after.manifest_sha256):
            return []
        return self.make(run_of(self.root, before), run_of(self.root, after)).parts

    def _goes_on(self, begun: Progress, held: int | None, goal: Publication) -> bool:
        """Whether the delivery that was begun is finished first.

        A full load takes the place of everything, so one that was begun is left for a newer one.
        """
        if begun.base is None:
            return begun.generation == goal.sequence
        if held not in (begun.base, begun.generation):
            return False  # another target under the same name, or one that was set up anew
        return self._is_there(begun.base) and self._is_there(begun.generation)

    def _is_of_these(self, begun: Progress) -> bool:
        """Whether what is on record was one of these publications.

        Numbers begin at 1 again where publications were removed, so the run decides.
        """
        try:
            named = publication(self.root, begun.generation).run_id
        except (NotFoundError, DamagedRunError):  # retired, or told of where it is needed
            return True
        if named == begun.run_id:
            return True
        logger.warning(
            "feed '%s': generation %d was run %s when it was fed and is run %s now, so everything "
            "is loaded",
            self.feed.name,
            begun.generation,
            begun.run_id,
            named,
        )
        return False

    def _is_there(self, generation: int) -> bool:
        """Whether the run of a publication can still be read."""
        try:
            run_of(self.root, publication(self.root, generation))
        except (NotFoundError, DamagedRunError) as error:
            logger.warning(
                "feed '%s': generation %d cannot be started from, everything is loaded: %s",
                self.feed.name,
                generation,
                error,
            )
            return False
        return True


class _Leases:
    """Leases of feeds, on a store that can keep them."""

    def __init__(self, root: str, config: LeaseConfig) -> None:
        abilities = probe(root)
        self._able = abilities.create and abilities.replace
        self._config = config
        if not self._able and config.unsafe_store == "refuse":
            raise ConfigurationError(
                f"{root}: this store does not do what a feed relies on ({abilities.detail}), so "
                "two drivers of one feed could not be kept apart. Use another store, or set "
                "lease.unsafe_store to single_driver and make sure that there is only one"
            )

    @contextmanager
    def held(self, folder: str) -> Iterator[Lease | NoLease]:
        """The right to feed one target.

        Raises:
            LeaseHeldError: another driver is at it.
        """
        if not self._able:
            yield NoLease()
            return
        lease = take(folder, ttl_s=self._config.ttl_s, progress=dict)
        try:
            yield lease
        finally:
            lease.release()
