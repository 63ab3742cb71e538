"""A publication: the record that says which run counts from now on, and on whose word.

One file each, ``<output.path>/published/<sequence>.json``. Sequences count up from 1, every file is
created once and never replaced, and the one with the highest sequence is current.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.execution.runs import records
from pipeline.execution.runs.run_folder import MANIFEST
from pipeline.storage.store import join

#: The folder of publications, beside the runs.
FOLDER: Final = "published"

PUBLISH: Final = "publish"
ROLLBACK: Final = "rollback"

_NAME: Final = re.compile(r"([0-9]{9})\.json")
_DAY: Final = r"^\d{4}-\d{2}-\d{2}$"
_SHA256: Final = r"^[0-9a-f]{64}$"


class GatePart(BaseModel):
    """What a gate measured; both are null where there was nothing to compare with."""

    model_config = ConfigDict(strict=True, extra="allow")

    value: float | None = Field(allow_inf_nan=False)
    limit: float | None = Field(allow_inf_nan=False)
    passed: bool


class AcceptedPart(BaseModel):
    """A gate that failed, and who published all the same."""

    model_config = ConfigDict(strict=True, extra="allow")

    gate: str
    by: str
    at: str
    why: str


class PublicationRecord(records.Record):
    """``published/<sequence>.json``."""

    kind = "publication"
    repair = (
        "Put the file back from a copy. Where there is none and it is the current publication, "
        "`rerank rollback --to` makes another one current; an older one may be removed, and then "
        "nothing keeps its run"
    )

    sequence: int = Field(ge=1)
    manifest: str
    manifest_sha256: str = Field(pattern=_SHA256)
    score_fingerprint: str | None
    date: str = Field(pattern=_DAY)
    action: Literal["publish", "rollback"]
    previous: int | None
    previous_sha256: str | None
    restores: int | None
    gates: dict[str, GatePart]
    accepted: list[AcceptedPart]
    at: str
    by: str
    why: str | None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One publication.

    Attributes:
        sequence: counts up from 1.
        run_id: the run that counts from here on.
        manifest_sha256: of its manifest; a run with another one is not what was published.
        score_fingerprint: what its scores depend on beside the texts; None: the run does not say.
        date: the night that it is of; that of a rollback is the night that is given up.
        action: :data:`PUBLISH` or :data:`ROLLBACK`.
        previous: the sequence that was current before; None for the first.
        previous_sha256: of the file of that one, so that a history is one chain.
        restores: of a rollback, the sequence whose run it names again.
        gates: by name, what was measured: ``{"value": …, "limit": …, "passed": …}``.
        accepted: gates that failed and were accepted: ``{"gate": …, "by": …, "at": …, "why": …}``.
        at: when, as ISO 8601 with its zone, by the publisher's clock.
        by: who, ``user@host``.
        why: of a rollback, the reason that was given.
    """

    sequence: int
    run_id: str
    manifest_sha256: str
    date: date
    action: str
    at: datetime
    by: str
    score_fingerprint: str | None = None
    previous: int | None = None
    previous_sha256: str | None = None
    restores: int | None = None
    gates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    accepted: tuple[Mapping[str, Any], ...] = ()
    why: str | None = None

    @property
    def manifest(self) -> str:
        """Key of the run's manifest below the output folder."""
        return f"{self.run_id}/{MANIFEST}"

    def says(self, run_id: str, manifest_sha256: str | None) -> bool:
        """Whether it names this run, with this manifest."""
        return (self.run_id, self.manifest_sha256) == (run_id, manifest_sha256)

    def described(self) -> dict[str, Any]:
        """The publication as plain data."""
        content = asdict(self) | {"manifest": self.manifest, "accepted": list(self.accepted)}
        return content | {"date": self.date.isoformat(), "at": self.at.isoformat()}

    def to_bytes(self) -> bytes:
        """A record; the same publication gives the same bytes."""
        content = self.described()
        PublicationRecord.model_validate(content)
        return records.to_bytes(PublicationRecord, content)

    @property
    def sha256(self) -> str:
        """Of the file; the next publication names it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, path: str, data: bytes) -> Publication:
        """The inverse of :meth:`to_bytes`.

        Raises:
            DamagedRunError: the file at ``path`` is not as it was written, or of another sequence.
        """
        content = records.parse(path, data, PublicationRecord)
        if content["sequence"] != sequence_of(path.rpartition("/")[2]):
            why = f"it is publication {content['sequence']}, under another name"
            raise records.damaged(path, why, PublicationRecord)
        try:
            day, at = date.fromisoformat(content["date"]), datetime.fromisoformat(content["at"])
        except ValueError as error:
            raise records.damaged(path, str(error), PublicationRecord) from None
        named = {name: content[name] for name in cls.__dataclass_fields__}
        return cls(**named | {"date": day, "at": at, "accepted": tuple(content["accepted"])})


def path_of(root: str, sequence: int) -> str:
    """Where a publication of an output folder lies."""
    return join(root, FOLDER, f"{sequence:09d}.json")


def sequence_of(name: str) -> int | None:
    """The sequence that a file is named for; None for other names."""
    found = _NAME.fullmatch(name)
    return None if found is None or found[1] == "000000000" else int(found[1])


def whoami() -> str:
    """Who runs this process, as ``user@host``; a container's user may have a number only."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user in the password database
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
