"""How far the delivery to a target has come, on record beside the runs."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import Field

from pipeline.execution.runs import records
from pipeline.outputs.feeds.support.base import Feed
from pipeline.storage.store import join, write_whole

#: Below ``output.path``.
FOLDER: Final = "_feeds"

NAME: Final = "progress.json"


class ProgressRecord(records.Record):
    """``progress.json``."""

    kind = "feed"
    repair = (
        "Remove the file and run `rerank feed --full`: nobody knows any more what the target holds"
    )

    feed: str
    settings: str
    generation: int = Field(ge=1)
    base: int | None
    parts: int = Field(ge=0)
    done: int = Field(ge=0)
    finished: bool


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One delivery.

    Attributes:
        feed: name of the feed.
        settings: digest of its kind and settings; with others a delivery starts again.
        generation: where it leads.
        base: where it starts; None: a full load.
        run_id: the run of ``generation``.
        parts: how many there are.
        done: parts that the target took.
        finished: whether the target has switched, and was cleaned.
    """

    feed: str
    settings: str
    generation: int
    base: int | None
    run_id: str
    parts: int
    done: int = 0
    finished: bool = False

    def same_delivery(self, other: Progress) -> bool:
        """Whether the other one is of this delivery and under way, however far it came."""
        mine, others = asdict(self), asdict(other)
        return not other.finished and mine | {"done": other.done} == others

    def write(self, folder: str) -> None:
        """Replace what is on record."""
        content = records.to_bytes(ProgressRecord, asdict(self))
        write_whole(join(folder, NAME), content)


def read_progress(folder: str) -> Progress | None:
    """What is on record; None where nothing was begun.

    Raises:
        DamagedRunError: the file is not as it was written.
    """
    found = records.read(join(folder, NAME), ProgressRecord)
    if found is None:
        return None
    named: dict[str, Any] = {name: found[name] for name in Progress.__dataclass_fields__}
    return Progress(**named)


def settings_digest(feed: Feed) -> str:
    """What tells a feed's settings from others."""
    kind = type(feed).__module__
    return hashlib.sha256(f"{kind}\n{feed.settings.model_dump_json()}".encode()).hexdigest()
