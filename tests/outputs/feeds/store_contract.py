"""What every feed keeps to: checked against a real store, whatever it is."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from pipeline.outputs.feeds.support.base import Feed
from tests.outputs.feeds.random_nights import (
    CARRIED,
    Document,
    FewerColumns,
    Job,
    Killed,
    Nights,
    Table,
)

#: Rows of each query as a reader of the store gets them.
Served = dict[Any, list[tuple[Any, ...]]]


class Target(ABC):
    """A place in a store that one feed serves."""

    @abstractmethod
    def make(self) -> Feed:
        """A feed as a new process makes it."""

    @abstractmethod
    def served(self, queries: Iterable[Any]) -> tuple[int | None, Served]:
        """The generation, and the rows of those queries that have some, as a service reads them."""

    def holds(self) -> int | None:
        """What a new process finds."""
        with closing(self.make()) as feed:
            return feed.held()

    def close(self) -> None:  # noqa: B027 - some have no connection
        """Let go of what reads."""

    def rows(self, documents: Iterable[Document]) -> list[tuple[Any, ...]]:
        """Rows that a list has in the store; by default all columns."""
        return [
            (d.doc_id, rank, d.score, d.reason, *d.carried) for rank, d in enumerate(documents, 1)
        ]

    def table(self, table: Table) -> Served:
        """What is to be served of a table."""
        return {query: self.rows(documents) for query, documents in table.items()}


def served_rows(table: pa.Table) -> Served:
    """What a table of rows serves; its columns may lie in any order."""
    found: Served = {}
    if not table.num_rows:
        return found
    own = ["query_id", "doc_id", "rank", "score", "reason"]
    columns = table.select([*own, *(column.name for column in CARRIED)]).to_pydict()
    rows = zip(*columns.values(), strict=True)
    for query, *row in sorted(rows, key=lambda row: (str(row[0]), row[2])):
        found.setdefault(query, []).append(tuple(row))
    return found


def every_night_is_a_full_load(target: Target, ids: pa.DataType, *, count: int = 10) -> None:
    """Night after night the state is that of the whole table, loaded anew."""
    nights = Nights(7, ids)
    job = Job(nights, target.make)
    assert target.holds() is None
    before: Table = {}
    for generation, table in enumerate(nights.tables(count), 1):
        if generation % 4 == 0:  # a night without a change
            table = before
        parts = nights.parts(before, table, generation % 4) if generation % 4 else []
        job.run(parts, generation, generation - 1 or None)
        assert target.served({*before, *table}) == (generation, target.table(table))
        before = table


def a_full_load_replaces(target: Target) -> None:
    """What was there is not seen any more, also where another series of publications begins."""
    nights = Nights(2)
    first, second, third = nights.tables(3)
    job = Job(nights, target.make)
    job.run(nights.parts({}, first, 2), 4, None)
    job.run(nights.parts({}, second, 2), 3, None)
    assert target.served({*first, *second}) == (3, target.table(second))
    job.run(nights.parts(second, third, 2), 5, 3)
    assert target.served({*first, *second, *third}) == (5, target.table(third))
    again = nights.parts({}, third, 2)  # the generation that is there, as if it were damaged
    with pytest.raises(Killed):
        job.run(again, 5, None, steps=6)
    job.run(again, 5, None)
    assert target.served({*first, *second, *third}) == (5, target.table(third))
    job.run([], 6, None)  # a run without a row
    assert target.served({*first, *second, *third}) == (6, {})


def killed_anywhere(make: Callable[[], Target], *, full: bool, parts: int = 2) -> None:
    """Killed after each step and run again: the generation before, or the new one, whole."""
    nights = Nights(3)
    before, after = nights.tables(2)
    changes = nights.parts({} if full else before, after, parts)
    first, base = nights.parts({}, before, 1), None if full else 1
    steps = 0
    while True:
        target = make()
        job = Job(nights, target.make)
        job.run(first, 1, None)
        try:
            steps += 1
            count = job.run(changes, 2, base, steps=steps)
        except Killed:
            state = target.served({*before, *after})
            assert state in ((1, target.table(before)), (2, target.table(after)))
            assert target.holds() == state[0]
            if state[0] == 1:
                job.run(changes, 2, base)
            assert target.served({*before, *after}) == (2, target.table(after))
            continue
        finally:
            target.close()
        assert steps == count
        return


def abandoned_deliveries_leave_nothing(target: Target) -> None:
    """A delivery that was never switched to, and another that takes its place."""
    nights = Nights(5)
    first, never, second, third = nights.tables(4)
    job = Job(nights, target.make)
    job.run(nights.parts({}, first, 1), 1, None)
    for base in (1, None):
        abandoned = nights.parts(first if base else {}, never, 2)
        with pytest.raises(Killed):
            job.run(abandoned, 2, base, steps=7)
    queries = {*first, *never, *second, *third}
    assert target.served(queries) == (1, target.table(first))
    job.run(nights.parts({}, second, 1), 3, None)
    assert target.served(queries) == (3, target.table(second))
    with pytest.raises(Killed):
        job.run(nights.parts({}, never, 2), 4, None, steps=7)
    job.run(nights.parts(second, third, 1), 5, 3)
    assert target.served(queries) == (5, target.table(third))


def readers_see_one_generation(target: Target, read: Callable[[], Target], *, count: int) -> None:
    """A reader beside the job never sees rows of two generations.

    Args:
        target: what is fed.
        read: another connection to it.
        count: of generations.
    """
    nights = Nights(4)
    queries = [str(number) for number in range(20)]
    wrong: list[Any] = []
    seen: set[int | None] = set()
    done = threading.Event()

    def table_of(generation: int | None) -> Table:
        """Each generation has its number as every score, and lacks some queries."""
        if generation is None:
            return {}
        document = Document("d", float(generation), (None,) * 4)
        return {query: (document,) for query in queries if int(query) % 5 != generation % 5}

    def poll() -> None:
        with closing(read()) as reader:
            while not done.is_set() and not wrong:
                generation, found = reader.served(queries)
                seen.add(generation)
                if found != reader.table(table_of(generation)):
                    wrong.append((generation, found))

    def polled() -> None:
        try:
            poll()
        except Exception as error:
            wrong.append(error)

    thread = threading.Thread(target=polled)
    thread.start()
    job = Job(nights, target.make)
    for generation in range(1, count + 1):
        base = generation - 1 if generation % 10 != 1 else None
        before = table_of(base)
        job.run(nights.parts(before, table_of(generation), 2), generation, base)
    done.set()
    thread.join()
    assert wrong == []
    assert len(seen) > 1


def columns_come_and_go(target: Target) -> None:
    """A night with other carried columns, whose changes name every row that stays."""
    nights = Nights(6)
    (table,) = nights.tables(1)
    fewer = FewerColumns(6)
    Job(fewer, target.make).run(fewer.parts({}, table, 2), 1, None)
    Job(nights, target.make).run(nights.parts({}, table, 2), 2, 1)
    assert target.served(table) == (2, target.table(table))
