"""What a night is asked for, what it finds and comes to, and who is told of it meanwhile."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.candidates.reuse import ReuseTable
from pipeline.config import RefreshConfig
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared
from pipeline.execution.runs.garbage import Garbage
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.feeding import Fed
from pipeline.refresh.gates.judging import GateResult
from pipeline.refresh.publications.record import Publication


@dataclass(frozen=True, kw_only=True)
class Night:
    """What a refresh is asked for.

    Attributes:
        config: the job.
        date: the night that it is of.
        full: reuse nothing.
        accept: gates that may fail tonight.
        reason: why they may.
        allow_code: modules outside this package that the user allows to be imported.
    """

    config: RefreshConfig
    date: datetime.date
    full: bool = False
    accept: frozenset[str] = frozenset()
    reason: str | None = None
    allow_code: frozenset[str] = frozenset()

    @property
    def root(self) -> str:
        """The folder of runs and publications."""
        return self.config.output.path


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is published when a night begins.

    Attributes:
        current: what serves; the gates compare with it, and the night's publication follows on it.
        base: the last publication of an earlier night, whose scores are reused. It is another one
            than ``current`` where this very night was published before, so that the same night
            again makes the same run.
    """

    current: Publication | None
    base: Publication | None


class Watcher:
    """Is told what each step has come to; does nothing by itself."""

    def began(self, night: Night, standing: Standing) -> None:
        """The publications were looked up."""

    def planned(self, prepared: Prepared) -> None:
        """The input is opened; what is known of it, and what is to be scored."""

    def ran(self, outcome: Outcome) -> None:
        """Every document has a score, or a reason why not."""

    def compared(self, changes: Changes) -> None:
        """What is different from what serves now is known."""

    def judged(self, results: Sequence[GateResult]) -> None:
        """Every gate was measured; a failed one that is not accepted ends the night now."""

    def published(self, publication: Publication, *, before: bool) -> None:
        """The run serves from here on; ``before``: it had been published already."""

    def fed(self, fed: Fed) -> None:
        """One target was brought to the publication, or has failed."""

    def retired(self, gone: Sequence[Garbage]) -> None:
        """What is past its time was removed."""

    def ended(self, done: Refreshed) -> None:
        """The whole night is over, and well."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a night has come to.

    Attributes:
        table: of the scores that were known.
        outcome: of the run.
        publication: that names the run.
        fed: what came of each feed.
        seconds: that all of it took now.
    """

    table: ReuseTable
    outcome: Outcome
    publication: Publication
    fed: tuple[Fed, ...]
    seconds: float
