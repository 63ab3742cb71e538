"""Going back to a run that was published before: a new publication that names it again.

Nothing is removed or rewritten, so a rollback can be rolled back, and whoever follows the sequence
(a feed, a cache) sees one more publication. The current publication may be damaged: this is the way
out of that.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from pipeline.errors import DamagedRunError, NotFoundError, PublishedMeanwhileError
from pipeline.refresh.publications.claims import claimed
from pipeline.refresh.publications.publishing import create, refuse_unsafe_store
from pipeline.refresh.publications.reading import (
    publication,
    root_of,
    run_of,
    sequences,
    stored,
)
from pipeline.refresh.publications.record import ROLLBACK, Publication, whoami
from pipeline.storage.store import join


def rollback(root: str, *, to: int | None = None, why: str, by: str | None = None) -> Publication:
    """Make the run of an earlier publication the current one again.

    Where that run is the current one already, nothing is written and the current publication is
    returned, so that a rollback with ``to`` may be repeated.

    Args:
        root: ``output.path``.
        to: sequence of the publication; None: the last one that named another run than the
            current one does, so that what is undone may be a rollback as well.
        why: the reason, kept with the publication.
        by: who; default: the user of this process.

    Raises:
        NotFoundError: there is no such publication, or none to go back to.
        DamagedRunError: the publication is damaged, or its run is not what was published.
        PublishedMeanwhileError: somebody else published at the same time.
        RunFailedError: retention is removing the run.
        ConfigurationError: the store has no conditional writes, see :func:`publish`.
    """
    root = root_of(root)
    numbers = sequences(root)
    if not numbers:
        raise NotFoundError(
            f"{root}: nothing was published here, so there is nothing to go back to"
        )
    last = stored(root, numbers[-1])
    if last is None:
        raise PublishedMeanwhileError(
            f"{root}: somebody else published just now; run the same command again"
        )
    readable = _readable(root, numbers)
    now = readable[0] if readable and readable[0].sequence == numbers[-1] else None
    target = publication(root, to) if to is not None else _before(root, now, readable)
    if now is not None and now.says(target.run_id, target.manifest_sha256):
        return now
    folder = run_of(root, target)
    refuse_unsafe_store(folder)
    with claimed(root, target.run_id):
        run_of(root, target)  # it may have been removed before the claim was there
        return create(
            root,
            Publication(
                sequence=numbers[-1] + 1,
                run_id=target.run_id,
                manifest_sha256=target.manifest_sha256,
                score_fingerprint=target.score_fingerprint,
                date=readable[0].date,
                action=ROLLBACK,
                previous=numbers[-1],
                previous_sha256=hashlib.sha256(last).hexdigest(),
                restores=target.sequence,
                at=datetime.now(UTC),
                by=by or whoami(),
                why=why,
            ),
        )


def _readable(root: str, numbers: list[int]) -> list[Publication]:
    """The publications that are whole, the newest first."""
    found = []
    for number in reversed(numbers):
        try:
            found.append(publication(root, number))
        except (DamagedRunError, NotFoundError):
            continue
    return found


def _before(root: str, now: Publication | None, readable: list[Publication]) -> Publication:
    """The last publication of another run than the current one; of any, where that is damaged."""
    for found in readable:
        if now is None or not now.says(found.run_id, found.manifest_sha256):
            return found
    named = f"every publication names run {now.run_id}" if now else "every publication is damaged"
    raise NotFoundError(f"{join(root, 'published')}: {named}, so there is none to go back to")
