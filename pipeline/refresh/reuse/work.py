"""What the processes that make a reuse table share: today's input in parts, yesterday's files."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.candidates.planning import Unit
from pipeline.refresh.reuse.table_folder import TableFolder

Record = dict[str, Any]
T = TypeVar("T")

#: The part that a row of yesterday may be used in.
PART: Final = "_part"

#: Of rows that stand for others: how many rows, and how many queries, are of no part.
GONE_DOCUMENTS: Final = "_gone_documents"
GONE_LISTS: Final = "_gone_lists"

#: Yesterday's rows on their way to the part of today's input that has their query. A row without a
#: query id stands for others.
ROUTED: Final = pa.schema(
    [
        pa.field(PART, pa.int64(), nullable=False),
        pa.field(schema.QUERY_ID, pa.large_string()),
        pa.field(schema.DOC_ID, pa.large_string()),
        pa.field(schema.CONTENT_KEY, schema.CONTENT_KEY_TYPE),
        pa.field(schema.SCORE, pa.float32()),
        pa.field(schema.SCORED_AT, pa.date32()),
        pa.field(GONE_DOCUMENTS, pa.int64()),
        pa.field(GONE_LISTS, pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is done at once, in candidates but for the last.

    Attributes:
        piece: of today's input that are in memory with their texts.
        part: of a part of the table, and of yesterday's units that a task reads: large enough that
            files are few, small enough that a worker has room for it and little is lost with one.
        here: of both nights together, up to which this process does the work: some seconds of a
            core, less than Ray takes to start.
        here_bytes: of the files of today's input, likewise: images may be large.
    """

    piece: int = 1 << 13
    part: int = 1 << 17
    here: int = 1 << 19
    here_bytes: int = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows ``[start, stop)`` of today's input, which are read piece by piece.

    Attributes:
        edges: where pieces begin, and where the last ends.
    """

    edges: tuple[int, ...]

    @property
    def start(self) -> int:
        """First row."""
        return self.edges[0]

    @property
    def stop(self) -> int:
        """Row after the last."""
        return self.edges[-1]


@dataclass(frozen=True, kw_only=True)
class OldUnit:
    """A unit of yesterday's run, which has whole queries.

    Attributes:
        files: path and sha256 of each file of its ranked rows.
        documents: candidates.
        queries: of them, those without candidates among them.
    """

    files: tuple[tuple[str, str], ...]
    documents: int
    queries: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """A table that is being made; travels to every worker.

    Attributes:
        source: today's input.
        separator: joins several text columns.
        parts: of the table.
        old: yesterday's units, those that a task reads together.
        pointwise: whether a score depends on its query and document alone.
        images: whether it depends on images.
        fingerprint: what else scores depend on.
        date: the night that the table is for.
        max_age_days: how old scores may get; None: of any age.
        folder: of the table.
    """

    source: Input
    separator: str
    parts: tuple[Part, ...]
    old: tuple[tuple[OldUnit, ...], ...]
    pointwise: bool
    images: bool
    fingerprint: str
    date: datetime.date
    max_age_days: int | None
    folder: TableFolder


def parts_of(units: Sequence[Unit], size: int) -> tuple[Part, ...]:
    """Pieces of an input, which follow each other, as parts of about ``size`` candidates."""
    groups = _gathered(((unit, unit.documents) for unit in units), size)
    return tuple(Part(edges=(*(unit.start for unit in g), g[-1].stop)) for g in groups)


def tasks_of(units: Iterable[OldUnit], size: int) -> tuple[tuple[OldUnit, ...], ...]:
    """Units as tasks of about ``size`` candidates."""
    return tuple(tuple(g) for g in _gathered(((unit, unit.documents) for unit in units), size))


def _gathered(given: Iterable[tuple[T, int]], size: int) -> Iterator[list[T]]:
    """Neighbours together until they have the size."""
    group: list[T] = []
    held = 0
    for one, count in given:
        group.append(one)
        held += count
        if held >= size:
            yield group
            group, held = [], 0
    if group:
        yield group
