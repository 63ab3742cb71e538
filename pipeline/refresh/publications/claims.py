"""A run about to be published and a run about to be removed: each is announced before it is done.

Retention removes a run that no publication names, while somebody may be about to name it. Both
write first and look second: who publishes writes a claim, then looks for marks; who removes writes
a mark, then looks for claims and, after those, at the publications. So whichever comes second sees
the first, and a publication never names a run that is being removed. A claim goes only once the
publication is there.

Names alone count, so a look is one listing. What a killed process leaves keeps its run from being
removed (a claim) or published (a mark) until ``rerank gc`` takes it away.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipeline import failpoints
from pipeline.errors import RunFailedError
from pipeline.execution.runs import records
from pipeline.refresh.publications.record import FOLDER, whoami
from pipeline.storage.files import FILE
from pipeline.storage.store import create_if_absent, delete, join, list_entries

CLAIMS: Final = "_claims"
MARKS: Final = "_retired"

_NAME: Final = re.compile(r"([0-9a-f]{16})-[0-9a-f]{32}\.json")


class Announcement(records.Record):
    """A claim or a mark; read by people, and for its age."""

    kind = "announcement"
    repair = "Remove the file once nobody publishes, rolls back or removes runs"

    by: str
    at: str


@dataclass(frozen=True, kw_only=True)
class Announced:
    """A claim or a mark that is there.

    Attributes:
        run_id: the run that it is about.
        path: its file.
    """

    run_id: str
    path: str

    def made(self) -> datetime | None:
        """When, by the clock of who made it; None where it is gone.

        Raises:
            DamagedRunError: it is not as it was written.
        """
        content = records.read(self.path, Announcement, run_id=self.run_id)
        if content is None:
            return None
        try:
            return datetime.fromisoformat(content["at"])
        except ValueError as error:
            raise records.damaged(self.path, str(error), Announcement) from None


def announced(root: str, kind: str) -> list[Announced]:
    """Every claim, or every mark.

    Args:
        root: ``output.path``.
        kind: :data:`CLAIMS` or :data:`MARKS`.
    """
    folder = join(root, FOLDER, kind)
    names = [entry.name for entry in list_entries(folder) if entry.kind == FILE]
    return [
        Announced(run_id=found[1], path=join(folder, name))
        for name in names
        if (found := _NAME.fullmatch(name)) is not None
    ]


def announce(root: str, kind: str, run_id: str) -> Announced:
    """Write a claim or a mark, under a name that nobody else has."""
    path = join(root, FOLDER, kind, f"{run_id}-{uuid.uuid4().hex}.json")
    content = {"run_id": run_id, "by": whoami(), "at": datetime.now(UTC).isoformat()}
    create_if_absent(path, records.to_bytes(Announcement, content))
    return Announced(run_id=run_id, path=path)


@contextmanager
def claimed(root: str, run_id: str) -> Iterator[None]:
    """Keep a run from being removed while it is published.

    Raises:
        RunFailedError: it is being removed.
    """
    claim = announce(root, CLAIMS, run_id)
    failpoints.reached("publication.claimed")
    try:
        for mark in announced(root, MARKS):
            if mark.run_id == run_id:
                raise RunFailedError(
                    f"{join(root, run_id)}: retention is removing this run, so it cannot be "
                    f"published any more ({mark.path} says since when). Publish another one"
                )
        yield
    finally:
        delete(claim.path)
