"""PostgreSQL, a real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from pipeline.config.reading.loading import validate
from pipeline.errors import ConfigurationError, FeedError
from pipeline.outputs.feeds.postgresql import PostgresqlFeed, PostgresqlSettings
from pipeline.outputs.feeds.support.postgresql_types import type_name
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import CARRIED, Document, Job, Nights


class Target(contract.Target):
    """A table of the server, whose name needs quotes."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = f"{name} of-Us"
        self.connection = psycopg.connect(address, autocommit=True)

    def make(self) -> PostgresqlFeed:
        settings = PostgresqlSettings(table=self.name, url_env="FEED_TEST_POSTGRESQL")
        return PostgresqlFeed(settings, name="shop")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        """All that is there, read as docs/feeds.md says: several statements of one snapshot."""
        found: contract.Served = {}
        carried = ", ".join(f'"{column.name}"' for column in CARRIED)
        with self.connection.transaction():
            self.do("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if self.do("SELECT to_regclass(%s)", f'"{self.name}"')[0][0] is None:
                return None, {}
            ((generation,),) = self.do(f'SELECT generation FROM "{self.name}_generation"')
            rows = self.do(
                f"SELECT query_id, doc_id, rank, score, reason, {carried} "
                f'FROM "{self.name}" ORDER BY query_id, rank'
            )
        for query, doc_id, rank, score, *rest in rows:
            score = None if score is None else pa.scalar(score, pa.float32()).as_py()
            found.setdefault(query, []).append((doc_id, rank, score, *rest))
        return generation, found

    def close(self) -> None:
        self.connection.close()

    def do(self, statement: str, *values: Any) -> list[Any]:
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def target(
    postgresql_address: str, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Target]:
    monkeypatch.setenv("FEED_TEST_POSTGRESQL", postgresql_address)
    with closing(Target(postgresql_address, fresh_name)) as made:
        yield made


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(target: Target, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(target, ids)


def test_a_full_load_replaces_what_was_there(target: Target) -> None:
    contract.a_full_load_replaces(target)


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(target: Target, full: bool) -> None:
    names = (f"{target.name[:13]}{number}" for number in range(100))
    contract.killed_anywhere(lambda: Target(target.address, next(names)), full=full)


def test_abandoned_deliveries_leave_nothing(target: Target) -> None:
    contract.abandoned_deliveries_leave_nothing(target)


def test_readers_see_one_generation(target: Target) -> None:
    contract.readers_see_one_generation(
        target, lambda: Target(target.address, target.name[:13]), count=30
    )


def test_rows_that_stay_are_not_written_again(target: Target) -> None:
    nights = Nights(0)
    table = next(nights.tables(1))
    job = Job(nights, target.make)
    job.run(nights.parts({}, table, 1), 1, None)
    versions = target.do(f'SELECT ctid::text FROM "{target.name}"')
    job.run(nights.parts({}, table, 1), 2, None)
    assert target.do(f'SELECT ctid::text FROM "{target.name}"') == versions


def test_columns_come_and_go(target: Target) -> None:
    """Changes name every row then, so that new columns are filled."""
    nights = Nights(0)
    Job(nights, target.make).run(nights.parts({}, next(nights.tables(1)), 1), 1, None)
    target.do(f'ALTER TABLE "{target.name}" DROP COLUMN "Order by", ADD COLUMN old integer')
    target.do(f'ALTER TABLE "{target.name}" ALTER COLUMN title TYPE integer USING NULL')
    tables = list(nights.tables(1))
    Job(nights, target.make).run(nights.parts({}, tables[0], 1), 2, None)
    assert target.served([]) == (2, target.table(tables[0]))


def test_tables_of_others_are_left_alone(target: Target) -> None:
    target.do(f'CREATE TABLE "{target.name}" (precious text)')
    with closing(target.make()) as feed, pytest.raises(FeedError, match="that no feed made"):
        feed.begin(Nights(0).delivery(1, None, 0))


def test_ids_of_another_type_are_refused(target: Target) -> None:
    Job(Nights(0), target.make).run([], 1, None)
    nights = Nights(0, pa.int64())
    parts = nights.parts({}, next(nights.tables(1)), 1)
    with pytest.raises(FeedError, match=r"query_id .* is text, and the run's is bigint. Remove"):
        Job(nights, target.make).run(parts, 2, 1)
    target.do(f'DROP TABLE "{target.name}"')
    assert target.holds() is None
    Job(nights, target.make).run(parts, 2, None)


def test_two_jobs_do_not_overtake_each_other(target: Target) -> None:
    nights = Nights(0)
    job = Job(nights, target.make)
    job.run([], 1, None)
    delivery = nights.delivery(2, 1, 0)
    with closing(target.make()) as slow:
        slow.begin(delivery)
        job.run([], 3, 1)
        with pytest.raises(FeedError, match="holds generation 3, and the changes start from 1"):
            slow.switch(delivery)


def test_a_part_of_another_delivery_does_not_get_among_those_of_this_one(target: Target) -> None:
    nights = Nights(0)
    first, second = nights.tables(2)
    job = Job(nights, target.make)
    job.run([], 1, None)
    late = nights.parts({}, first, 1)
    parts = nights.parts({}, second, 1)
    delivery = nights.delivery(3, 1, 1)
    with closing(target.make()) as slow, closing(target.make()) as feed:
        slow.begin(nights.delivery(2, 1, 1))
        feed.begin(delivery)
        feed.put(0, parts[0], delivery)
        with pytest.raises(FeedError, match="is of another delivery by now"):
            slow.put(0, late[0], nights.delivery(2, 1, 1))
        feed.switch(delivery)
    assert target.served({*first, *second}) == (3, target.table(second))


def test_a_zero_byte_is_refused_and_nothing_changed(target: Target) -> None:
    nights = Nights(0)
    job = Job(nights, target.make)
    job.run(nights.parts({}, {}, 1), 1, None)
    document = Document("a\x00b", 1.0, (None,) * 4)
    with pytest.raises(psycopg.DataError, match=r"0x00|NUL"):
        job.run(nights.parts({}, {"q": (document,)}, 1), 2, 1)
    assert target.served([]) == (1, {})


def test_what_the_server_has_lost_is_noticed(target: Target) -> None:
    delivery = Nights(0).delivery(1, None, 2)
    with closing(target.make()) as feed:
        feed.begin(delivery)
        with pytest.raises(FeedError, match="has lost parts"):
            feed.switch(delivery)
        assert not feed.keeps(delivery)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.uint64(), "numeric(20,0)"),
        (pa.int8(), "smallint"),
        (pa.large_string(), "text"),
        (pa.binary(16), "bytea"),
        (pa.timestamp("ns"), "timestamp without time zone"),
        (pa.struct([("a", pa.int8())]), "jsonb"),
    ],
    ids=str,
)
def test_types(target: Target, kind: pa.DataType, expected: str) -> None:
    assert type_name("x", kind) == expected
    assert target.do(f"SELECT format_type(to_regtype('{expected.split('(')[0]}'), NULL)")


def test_configurations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="duration"):
        type_name("x", pa.duration("s"))
    with pytest.raises(ConfigurationError, match="63 bytes"):
        type_name("x" * 64, pa.string())
    for settings in ({"table": 'a"b'}, {"table": "t", "url_env": "postgresql://u:p@h/d"}):
        with pytest.raises(ConfigurationError):
            validate(PostgresqlSettings, settings, prefix="feeds.shop")
