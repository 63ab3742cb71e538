"""Nights for feeds: tables of rankings, what changed between two, and feeding it as a job does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline.outputs.feeds.support.base import CHANGE, CHANGED, GONE, NEW, Delivery, Feed

#: Ids that quoting, escaping, globbing or splitting gets wrong.
ODD_IDS = ("'", '"; DROP TABLE x; --', "a\n\\.\nb", "{*?[", ":q:", "", " ", "é\t日本", "\\", "NULL")
CARRIED = (
    pa.field("title", pa.string()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("seen", pa.timestamp("us", "UTC")),
    pa.field("Order by", pa.int64()),
)


@dataclass(frozen=True)
class Document:
    """A document of a list; its rank is its place there."""

    doc_id: str | int
    score: float | None
    carried: tuple[object, ...]

    @property
    def reason(self) -> str | None:
        return "no_text" if self.score is None else None


#: Lists by query id.
Table = dict[str | int, tuple[Document, ...]]


@dataclass(frozen=True)
class Part:
    """A part of changes in memory."""

    number: int
    _rows: pa.Table
    _lists: pa.Table

    def rows(self) -> pa.Table:
        return self._rows

    def lists(self) -> pa.Table:
        return self._lists

    def half(self) -> Part:
        """What of it has arrived when a connection breaks."""
        return Part(
            self.number,
            self._rows.slice(0, len(self._rows) // 2),
            self._lists.slice(0, len(self._lists) // 2),
        )


class Killed(Exception):
    """The process ends here."""


@dataclass
class Nights:
    """Random tables, each made of the one before.

    Attributes:
        seed: of everything.
        ids: type of query and document ids.
    """

    seed: int
    ids: pa.DataType = field(default_factory=pa.string)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                pa.field("query_id", self.ids, nullable=False),
                pa.field("doc_id", self.ids, nullable=False),
                pa.field(CHANGE, pa.string(), nullable=False),
                pa.field("rank", pa.int32()),
                pa.field("score", pa.float32()),
                pa.field("previous_rank", pa.int32()),
                pa.field("previous_score", pa.float32()),
                pa.field("reason", pa.string()),
                *CARRIED,
            ]
        )

    def tables(self, count: int) -> Iterator[Table]:
        """So many nights; each keeps some lists, changes some, and drops and adds others."""
        table: Table = {}
        for _ in range(count):
            kept = {query: documents for query, documents in table.items() if self._often()}
            for query in kept:
                if self._random.random() < 0.4:
                    kept[query] = self._changed(kept[query])
            kept.update({self._id(): self._list() for _ in range(self._random.randint(0, 6))})
            table = kept
            yield table

    def parts(self, before: Table, after: Table, count: int) -> list[Part]:
        """The changes between two tables, in so many parts."""
        queries: list[list[str | int]] = [[] for _ in range(count)]
        for query in sorted({*before, *after}, key=str):
            queries[self._random.randrange(count)].append(query)
        return [self._part(n, names, before, after) for n, names in enumerate(queries)]

    def delivery(self, generation: int, base: int | None, parts: int) -> Delivery:
        return Delivery(
            generation=generation,
            base=base,
            parts=parts,
            columns=[column.name for column in CARRIED] if parts else [],
            schema=self.schema if parts else pa.schema([]),
            run_id=f"run-{generation}",
            date="2026-01-01",
        )

    def _table(self, rows: Sequence[tuple[object, ...]]) -> pa.Table:
        return _table(rows, self.schema)

    def _often(self) -> bool:
        return self._random.random() < 0.8

    def _id(self) -> str | int:
        if not pa.types.is_string(self.ids):
            return self._random.randint(-(2**40), 2**40)
        return self._random.choice((*ODD_IDS, *map(str, range(20))))

    def _list(self) -> tuple[Document, ...]:
        ids = {self._id() for _ in range(self._random.randint(1, 6))}
        return tuple(self._document(doc_id) for doc_id in sorted(ids, key=str))

    def _document(self, doc_id: str | int) -> Document:
        score = float(np.float32(self._random.gauss(0, 3))) if self._often() else None
        carried = (
            self._random.choice((None, "", "a\tb\\N", "plain")),
            self._random.choice((None, [], ["x", '"'])),
            datetime(2026, 1, self._random.randint(1, 28), tzinfo=UTC),
            self._random.choice((None, 1 << 60)),
        )
        return Document(doc_id, score, carried)

    def _changed(self, documents: Sequence[Document]) -> tuple[Document, ...]:
        kept = [document for document in documents if self._often()]
        kept += [self._document(self._id())]
        kept = list({document.doc_id: document for document in kept}.values())
        self._random.shuffle(kept)
        return tuple(kept)

    def _part(self, number: int, queries: Sequence[str | int], before: Table, after: Table) -> Part:
        rows: list[tuple[object, ...]] = []
        lists: list[tuple[object, ...]] = []
        for query in queries:
            old = {d.doc_id: (rank, d) for rank, d in enumerate(before.get(query, ()), 1)}
            new = {d.doc_id: (rank, d) for rank, d in enumerate(after.get(query, ()), 1)}
            if old == new:
                continue
            change = NEW if query not in before else GONE if query not in after else CHANGED
            scores = [document.score for _, document in new.values()]
            lists.append((query, change, list(new), scores))
            for doc_id, (rank, document) in new.items():
                then = old.get(doc_id)
                if then != (rank, document):
                    rows.append(_row(query, NEW if then is None else CHANGED, rank, document, then))
            for doc_id, (rank, document) in old.items():
                if doc_id not in new:
                    then = (rank, document)
                    rows.append(_row(query, GONE, None, Document(doc_id, None, (None,) * 4), then))
        kinds = {"query_id": self.ids, CHANGE: pa.string(), "doc_ids": pa.list_(self.ids)}
        list_schema = pa.schema([*kinds.items(), ("scores", pa.list_(pa.float32()))])
        return Part(number, self._table(rows), _table(lists, list_schema))


class FewerColumns(Nights):
    """Nights whose rows carry the first column alone."""

    @property
    def schema(self) -> pa.Schema:
        whole = super().schema
        return pa.schema(list(whole)[: len(whole) - len(CARRIED) + 1])

    def delivery(self, generation: int, base: int | None, parts: int) -> Delivery:
        whole = super().delivery(generation, base, parts)
        return replace(whole, columns=whole.columns[:1])

    def _table(self, rows: Sequence[tuple[object, ...]]) -> pa.Table:
        return _table([row[: len(self.schema)] for row in rows], self.schema)


@dataclass
class Job:
    """A job that feeds one target, as the driver does; it may be killed and run again.

    Attributes:
        nights: of the parts.
        make: a feed as a new process makes it.
    """

    nights: Nights
    make: Callable[[], Feed]
    _recorded: dict[tuple[int, int | None], int] = field(default_factory=dict)

    def run(
        self, parts: Sequence[Part], generation: int, base: int | None, *, steps: int | None = None
    ) -> int:
        """Bring the target from one generation to another; a part is put in half, then twice.

        Args:
            parts: what changed.
            generation: to switch to.
            base: that the changes start from; None for a full load.
            steps: how many are taken before the process is killed; None for all.

        Returns:
            How many steps there were.

        Raises:
            Killed: after those steps.
        """
        with closing(self.make()) as feed:  # as the kernel closes what a dead process had open
            return self._run(feed, parts, generation, base, steps)

    def _run(
        self,
        feed: Feed,
        parts: Sequence[Part],
        generation: int,
        base: int | None,
        steps: int | None,
    ) -> int:
        delivery = self.nights.delivery(generation, base, len(parts))
        done = self._recorded.get((generation, base), 0)
        delivery = replace(delivery, resumed=done > 0 and feed.keeps(delivery))
        left = parts[done:] if delivery.resumed else parts
        script: list[Callable[[], object]] = [lambda: feed.begin(delivery)]
        for part in left:
            script += [
                lambda part=part: feed.put(part.number, part.half(), delivery),
                lambda part=part: feed.put(part.number, part, delivery),
                lambda part=part: feed.put(part.number, part, delivery),
                lambda part=part: self._recorded.update({(generation, base): part.number + 1}),
            ]
        script += [lambda: feed.switch(delivery), lambda: feed.clean(delivery)]
        for step in script[:steps]:
            step()
        if steps is not None and steps < len(script):
            raise Killed
        assert feed.held() == generation
        return len(script)


def _row(
    query: object,
    change: str,
    rank: int | None,
    document: Document,
    then: tuple[int, Document] | None,
) -> tuple[object, ...]:
    previous = (None, None) if then is None else (then[0], then[1].score)
    reason = None if change == GONE else document.reason
    own = (query, document.doc_id, change, rank, document.score, *previous, reason)
    return (*own, *document.carried)


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [
        pa.array(list(values), kind.type) for values, kind in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
