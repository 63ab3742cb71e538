"""What a feed is: it brings a target that serves rankings from one publication to the next.

The driver (:mod:`pipeline.refresh.feeding`) asks what the target holds, makes the changes from
there to the current publication, and calls, in this order::

    held()                                     which generation is served now
    begin(delivery)                            once per session, also of one that goes on
    put(number, part, delivery)                for each part, in order
    switch(delivery)                           readers see the new generation
    clean(delivery)                            what nobody reads any more goes

A generation is the sequence number of a publication. A process may be killed between any two
instructions and the same delivery started again, with the parts that were put before left out or
put once more. Deliveries of one feed never overlap, and one that was begun is finished before the
next begins, unless a full load takes its place: then :attr:`Delivery.base` is None.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import pyarrow as pa

from pipeline import schema
from pipeline.config import Settings

#: Column of a part's rows and lists that says what happened to them.
CHANGE: Final = schema.CHANGE
#: Was not there in the generation before.
NEW: Final = "new"
#: Was there with another rank, score, reason or carried value.
CHANGED: Final = "changed"
#: Is not there any more: the target must remove it.
GONE: Final = "gone"


class ChangePart(Protocol):
    """Some of the changes: those of whole queries, each query in one part only."""

    @property
    def number(self) -> int:
        """Place of the part, from 0."""

    def rows(self) -> pa.Table:
        """A row per (query, document) that changed, by query and rank.

        Columns: ``query_id``, ``doc_id``, ``change`` (:data:`NEW`, :data:`CHANGED`, :data:`GONE`),
        ``rank``, ``score`` (float32, null without one), ``previous_rank``, ``previous_score``,
        ``reason`` (null, or why there is no score), then :attr:`Delivery.columns`. Values are those
        of the new generation; of gone rows only the ids and the previous values are there.
        """

    def lists(self) -> pa.Table:
        """A row per query with any change, by query.

        Columns: ``query_id``, ``change``, ``doc_ids`` (list), ``scores`` (list of float32, null
        without one): the whole list of the new generation in rank order, empty of gone queries.
        """


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One step of a target, from what it holds to a publication.

    Attributes:
        generation: sequence number of the publication, at least 1.
        base: generation that the target holds and the changes start from. None: a full load, in
            which every row is new, whatever the target holds; what it held before must not be
            seen after the switch.
        parts: how many there are; may be 0, and the generation is switched all the same.
        columns: names of the carried columns, in order.
        schema: of :meth:`ChangePart.rows`; empty where there are no parts.
        run_id: run of the publication.
        date: its night, ISO 8601.
        resumed: whether parts of this very delivery were put before. Otherwise what lies in the
            target of this generation is left from another attempt, and is thrown away.
    """

    generation: int
    base: int | None
    parts: int
    columns: Sequence[str]
    schema: pa.Schema
    run_id: str
    date: str
    resumed: bool = False

    @property
    def full(self) -> bool:
        """Whether this is a full load."""
        return self.base is None

    def type_of(self, column: str) -> pa.DataType:
        """Arrow type of a column of the rows; ids keep the type of the input."""
        return self.schema.field(column).type


class Feed(ABC):
    """One kind of target: a file of ``pipeline/outputs/feeds`` with one subclass in it.

    The file's name is what ``kind`` says in the configuration. The constructor is cheap and opens
    no connection: configurations are checked with it. Libraries of extras are imported where they
    are used, by :func:`pipeline.extras.library`.

    Every method may raise :class:`pipeline.errors.FeedError`: the target refuses, or does not
    answer, and went on so. Others' exceptions are told as such, with their class.
    """

    #: Settings of one feed of this kind, without its name and kind. Secrets are none of them.
    Settings: ClassVar[type[Settings]]

    def __init__(self, settings: Any, *, name: str) -> None:
        """Keep the settings.

        Args:
            settings: of the class's own ``Settings``, validated.
            name: of the feed in the configuration: lower-case letters, digits, ``_`` and ``-``.
        """
        self.settings = settings
        self.name = name

    @abstractmethod
    def held(self) -> int | None:
        """The generation that readers of the target see now; None where there is none.

        It is asked of the target itself where that can tell, else of the state beside it.
        """

    def keeps(self, delivery: Delivery) -> bool:
        """Whether the target still has what the parts left there that were put before.

        Asked before :meth:`begin` when a delivery goes on. False: it starts again from its first
        part, with ``resumed`` false.
        """
        return True

    @abstractmethod
    def begin(self, delivery: Delivery) -> None:
        """Get ready for the parts, without a change that readers could see. Idempotent."""

    @abstractmethod
    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Take one part, whole when this returns. Idempotent: the same part may come twice.

        Args:
            number: of the part, from 0.
            part: its changes.
            delivery: what it is a part of.
        """

    @abstractmethod
    def switch(self, delivery: Delivery) -> None:
        """One atomic step: readers see the generation whole, or the one before. Idempotent."""

    def clean(self, delivery: Delivery) -> None:  # noqa: B027 - some have nothing to remove
        """Remove what nobody reads any more. Idempotent; called after every switch."""

    def close(self) -> None:  # noqa: B027 - some have no connection
        """Let go of connections. Called once after the last use, also after a failure."""
