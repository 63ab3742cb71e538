"""A run published: the next record created, unless somebody else has created it.

What is decided on one publication (which scores are reused, what the gates compare) holds for that
one only. So a publisher says which it was, and the sequence after it is created in one conditional
write: of two at once one wins, and the other has changed nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pipeline import failpoints
from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    PublishedMeanwhileError,
    RunFailedError,
)
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications.claims import claimed
from pipeline.refresh.publications.reading import (
    current,
    manifest_digest,
    publication,
    root_of,
    sequences,
    stored,
    why_incomplete,
)
from pipeline.refresh.publications.record import (
    PUBLISH,
    ROLLBACK,
    Publication,
    path_of,
    whoami,
)
from pipeline.storage.probe import probe
from pipeline.storage.store import create_if_absent, delete, join

logger = logging.getLogger("pipeline")


def publish(
    root: str,
    folder: RunFolder,
    *,
    after: int | None,
    date: date,
    gates: Mapping[str, Mapping[str, Any]] | None = None,
    accepted: Sequence[Mapping[str, Any]] = (),
) -> Publication:
    """Make a run the current one.

    The same run of the same night again is no new publication: the current one is returned.

    Args:
        root: ``output.path``.
        folder: the run, finished, in ``root``.
        after: sequence of the publication that was current when it was decided to publish this
            run; None: there was none.
        date: the night.
        gates: what was measured, see :class:`Publication`.
        accepted: gates that failed and were accepted, see :class:`Publication`.

    Raises:
        PublishedMeanwhileError: another publication than ``after`` is current.
        RunFailedError: the run is not finished, was changed, or is being removed.
        ConfigurationError: ``date`` lies before the current publication's; the run was rolled
            back; or the store has no conditional writes and the run's ``lease.unsafe_store`` does
            not allow that.
        DamagedRunError: the file of a publication is damaged.
        ValueError: the run lies elsewhere, or a gate failed that nobody accepted.
    """
    root = root_of(root)
    run_id = folder.path.rpartition("/")[2]
    if folder.path != join(root, run_id):
        raise ValueError(f"{folder.path} is no run of {root}")
    _refuse_failed_gates(gates or {}, accepted)
    digest, now = manifest_digest(folder), current(root)
    if now is not None:
        if now.says(run_id, digest) and now.date == date:
            return now
        if date < now.date:
            raise ConfigurationError(
                f"--date {date}: {_named(root, now)} is of {now.date}, so a run of an earlier "
                "night is not published over it; `rerank rollback` goes back to one that was "
                "published"
            )
    if (None if now is None else now.sequence) != after:
        raise _meanwhile(root, after, now)
    _refuse_rolled_back(root, run_id, digest, date)
    refuse_unsafe_store(folder)
    with claimed(root, run_id):
        refusal = why_incomplete(folder, digest)
        if refusal or digest is None:
            raise RunFailedError(f"{folder.path}: cannot be published: {refusal}")
        return create(
            root,
            Publication(
                sequence=(after or 0) + 1,
                run_id=run_id,
                manifest_sha256=digest,
                score_fingerprint=folder.describe().get("score_fingerprint"),
                date=date,
                action=PUBLISH,
                previous=after,
                previous_sha256=None if now is None else now.sha256,
                gates=gates or {},
                accepted=tuple(accepted),
                at=datetime.now(UTC),
                by=whoami(),
            ),
        )


def create(root: str, new: Publication) -> Publication:
    """Write a publication that follows on the current one; where somebody wrote the same, theirs.

    Raises:
        PublishedMeanwhileError: somebody else has written that sequence, or had.
    """
    path = path_of(root, new.sequence)
    if not create_if_absent(path, new.to_bytes()):
        now = current(root)
        if now is not None and now.says(new.run_id, new.manifest_sha256) and now.date == new.date:
            return now
        raise _meanwhile(root, new.previous, now)
    failpoints.reached("publication.created")
    if max(sequences(root), default=0) > new.sequence and not _is_followed(root, new):
        # The sequence had been there before, and was retired while this process slept.
        delete(path)
        raise _meanwhile(root, new.previous, current(root))
    return new


def refuse_unsafe_store(folder: RunFolder) -> None:
    """Refuse a store on which two publishers could both win, as the run's lease does.

    Raises:
        ConfigurationError: it is such a store, and ``lease.unsafe_store`` of the run does not
            allow that.
    """
    abilities = probe(folder.path.rpartition("/")[0])
    if abilities.create:
        return
    if folder.describe()["config"]["lease"]["unsafe_store"] == "refuse":
        raise ConfigurationError(
            f"{folder.path}: this store does not do what a publication relies on "
            f"({abilities.detail}), so of two publishers at once both could win. Use another "
            "store, or set lease.unsafe_store of the job to single_driver and make sure that only "
            "one process publishes"
        )
    logger.warning(
        "SINGLE-DRIVER MODE: %s has no conditional writes (%s). Nothing notices a second process "
        "that publishes at the same time",
        folder.path,
        abilities.detail,
    )


def _is_followed(root: str, new: Publication) -> bool:
    """Whether the publication after this one was made on it, or both are retired already."""
    if stored(root, new.sequence) is None:
        return True
    following = stored(root, new.sequence + 1)
    if following is None:
        return False
    path = path_of(root, new.sequence + 1)
    return Publication.from_bytes(path, following).previous_sha256 == new.sha256


def _refuse_failed_gates(
    gates: Mapping[str, Mapping[str, Any]], accepted: Sequence[Mapping[str, Any]]
) -> None:
    """Whoever calls this has told the user already; a failed gate must not get past a mistake."""
    failed = {name for name, gate in gates.items() if not gate["passed"]}
    if missing := failed - {one["gate"] for one in accepted}:
        raise ValueError(f"gates {', '.join(sorted(missing))} failed and were not accepted")


def _refuse_rolled_back(root: str, run_id: str, digest: str | None, night: date) -> None:
    """A night that is done again, say by a scheduler, must not undo a person's rollback.

    Raises:
        ConfigurationError: the run was published for this night, and given up.
    """
    following: Publication | None = None
    for number in reversed(sequences(root)):
        try:
            found = publication(root, number)
        except DamagedRunError:
            continue  # one that does not count any more, or current() had said so
        if found.date < night:
            return
        if found.says(run_id, digest):
            if following is not None and following.action == ROLLBACK:
                raise ConfigurationError(
                    f"{join(root, run_id)}: publication {found.sequence} of this run was rolled "
                    f"back by {following.by} at {following.at:%Y-%m-%d %H:%M %Z} "
                    f"({following.why}), so it is not published again. `rerank rollback "
                    f"--to {found.sequence}` brings it back"
                )
            return
        following = found


def _meanwhile(root: str, after: int | None, now: Publication | None) -> PublishedMeanwhileError:
    before = "before anything was published" if after is None else f"on publication {after}"
    found = "there is no publication" if now is None else f"{_named(root, now)} is current"
    return PublishedMeanwhileError(
        f"{join(root, 'published')}: this run was made {before}, and now {found}. Nothing was "
        "overwritten. Run the same command again: it starts from what is published now"
    )


def _named(root: str, known: Publication) -> str:
    return (
        f"publication {known.sequence} (run {known.run_id}, by {known.by} at "
        f"{known.at:%Y-%m-%d %H:%M:%S %Z}, {path_of(root, known.sequence)})"
    )
