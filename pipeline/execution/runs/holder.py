"""Who drives a run, as its lease says; how that is kept is in :mod:`pipeline.execution.runs.lease`.

Workers read it before they begin a unit, so that they stop with their driver.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from pipeline.errors import DamagedRunError
from pipeline.execution.runs import records
from pipeline.storage.store import join, read_versioned

logger = logging.getLogger("pipeline")

NAME: Final = "lease.json"

HELD: Final = "held"
DRAINING: Final = "draining"  # held, but no unit may be begun
RELEASED: Final = "released"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Content of a lease.

    Attributes:
        run_id: the run.
        epoch: grows with every owner.
        owner: a random name of the owning session.
        host: where its driver runs.
        pid: the driver's process.
        ttl_s: silence past which the owner may be taken over.
        state: held, draining or released.
        beat: grows with every renewal, so that the content always changes.
        time: wall clock of the renewal, for people; nothing is decided by it.
        progress: the run's counters, for ``rerank status``.
    """

    run_id: str
    epoch: int
    owner: str
    host: str
    pid: int
    ttl_s: float
    state: str = HELD
    beat: int = 0
    time: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """A record."""
        return records.to_bytes(records.LeaseRecord, asdict(self))

    @classmethod
    def from_bytes(cls, path: str, data: bytes) -> Holder:
        """The inverse of :meth:`to_bytes`.

        Raises:
            DamagedRunError: the lease at ``path`` is not as it was written, or of another run.
        """
        run_id = records.run_id_of(path.rpartition("/")[0])
        content = records.parse(path, data, records.LeaseRecord, run_id=run_id)
        return cls(**{item.name: content[item.name] for item in fields(cls)})

    def __str__(self) -> str:
        return f"{self.host}, process {self.pid} (epoch {self.epoch})"


def read_holder(folder: str) -> Holder | None:
    """The lease of the run at ``folder``; None where nobody ever took it.

    Raises:
        DamagedRunError: it is not as it was written.
    """
    path = join(folder, NAME)
    stored = read_lease(path)
    return None if stored is None else Holder.from_bytes(path, stored[0])


def may_begin(folder: str, epoch: int) -> bool:
    """Whether a worker of the driver with ``epoch`` may begin another unit."""
    if epoch == 0:
        return True  # a run without a lease
    try:
        holder = read_holder(folder)
    except DamagedRunError as error:
        logger.error("no further unit is begun: %s", error)
        return False
    return holder is not None and (holder.epoch, holder.state) == (epoch, HELD)


def read_lease(path: str) -> tuple[bytes, str] | None:
    """Content and version of the file at ``path``; None where there is none."""
    return read_versioned(path, most_bytes=records.LeaseRecord.most_bytes)
