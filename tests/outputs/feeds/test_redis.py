"""Redis, a real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
import redis

from pipeline.config.reading.loading import validate
from pipeline.errors import ConfigurationError, FeedError
from pipeline.outputs.feeds.redis import RedisFeed, RedisSettings
from pipeline.outputs.feeds.support.redis_layout import read
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import Document, Job, Nights, Table


class Target(contract.Target):
    """A prefix of the server."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.client: Any = redis.Redis.from_url(url)
        self.prefix = prefix

    def make(self) -> RedisFeed:
        return RedisFeed(RedisSettings(prefix=self.prefix), name="shop")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        names = list(queries)
        generation, lists = read(self.client, self.prefix, names)
        return generation, {
            name: list(zip(found["doc_ids"], _float32(found["scores"]), strict=True))
            for name, found in zip(names, lists, strict=True)
            if found is not None
        }

    def rows(self, documents: Iterable[Document]) -> list[tuple[Any, ...]]:
        return [(document.doc_id, document.score) for document in documents]

    def close(self) -> None:
        self.client.close()

    def names(self) -> set[str]:
        """Keys below the prefix, without it."""
        found = self.client.scan_iter(match=f"{self.prefix}:*")
        return {name.decode().removeprefix(f"{self.prefix}:") for name in found}


@pytest.fixture
def target(redis_url: str, fresh_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setenv("REDIS_URL", redis_url)
    with closing(Target(redis_url, fresh_name)) as made:
        yield made


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(target: Target, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(target, ids)


def test_a_full_load_replaces_what_was_there(target: Target) -> None:
    contract.a_full_load_replaces(target)
    assert not {name for name in target.names() if name.startswith("1:")}


def test_another_feed_may_have_a_prefix_that_looks_like_an_epoch(target: Target) -> None:
    nights = Nights(1)
    first, second = nights.tables(2)
    with closing(Target(target.url, f"{target.prefix}:1")) as other:
        Job(nights, target.make).run(nights.parts({}, first, 2), 1, None)
        Job(nights, other.make).run(nights.parts({}, second, 2), 1, None)
        for generation in (2, 3):  # full loads, after which the first epoch is removed
            Job(nights, target.make).run(nights.parts({}, first, 2), generation, None)
        assert not any(name.startswith("1:q:") for name in target.names())
        assert other.served(second) == (1, other.table(second))


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(target: Target, full: bool) -> None:
    prefixes = (f"{target.prefix}-{number}" for number in range(100))
    contract.killed_anywhere(lambda: Target(target.url, next(prefixes)), full=full)


def test_abandoned_deliveries_leave_nothing(target: Target) -> None:
    contract.abandoned_deliveries_leave_nothing(target)


def test_readers_see_one_generation(target: Target) -> None:
    contract.readers_see_one_generation(target, lambda: Target(target.url, target.prefix), count=40)


def test_old_versions_go(target: Target) -> None:
    nights = Nights(1)
    job = Job(nights, target.make)
    before: Table = {}
    for generation, table in enumerate(nights.tables(6), 1):
        job.run(nights.parts(before, table, 2), generation, generation - 1 or None)
        before = table
    for generation in (7, 8):  # nights without a change
        job.run([], generation, generation - 1)
    lists = {name for name in target.names() if ":q:" in name}
    assert lists == {f"1:q:{query}" for query in before}
    assert all(target.client.hlen(f"{target.prefix}:{name}") == 1 for name in lists)
    assert target.names() - lists == {"current", "begun"}


def test_a_night_writes_what_changed_and_nothing_else(target: Target) -> None:
    nights = Nights(0)
    job = Job(nights, target.make)
    document = nights._document("d")
    before: Table = {str(number): (document,) for number in range(50)}
    job.run(nights.parts({}, before, 1), 1, None)
    job.run(nights.parts(before, {**before, "7": ()}, 1), 2, 1)
    versions = {n: target.client.hlen(f"{target.prefix}:1:q:{n}") for n in range(50)}
    assert {number for number, count in versions.items() if count > 1} == {7}


def test_two_jobs_do_not_overtake_each_other(target: Target) -> None:
    nights = Nights(0)
    tables = list(nights.tables(2))
    parts = nights.parts(*tables, 1)
    Job(nights, target.make).run(nights.parts({}, tables[0], 1), 1, None)
    slow = target.make()
    delivery = nights.delivery(2, 1, 1)
    slow.begin(delivery)
    slow.put(0, parts[0], delivery)
    Job(nights, target.make).run([], 3, 1)
    with pytest.raises(FeedError, match="switched by somebody else"):
        slow.switch(delivery)
    assert target.served([])[0] == 3


def test_what_a_server_has_lost_is_noticed(target: Target) -> None:
    nights = Nights(0)
    parts = nights.parts({}, next(nights.tables(1)), 2)
    feed = target.make()
    delivery = nights.delivery(1, None, 2)
    feed.begin(delivery)
    feed.put(1, parts[1], delivery)
    with pytest.raises(FeedError, match=r"lost 1 of 2 part\(s\)"):
        feed.switch(delivery)
    assert not feed.keeps(delivery)
    assert target.names() == set()


def test_addresses_come_from_the_environment(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="url_env"):
        validate(RedisSettings, {"url_env": "redis://:secret@host"}, prefix="feeds.shop")
    monkeypatch.delenv("REDIS_URL")
    with pytest.raises(ConfigurationError, match="REDIS_URL is not set"):
        target.make().held()


def _float32(scores: list[float | None]) -> list[float | None]:
    """Scores as a service in another language gets them, whose float has 32 bits."""
    found: list[float | None] = pa.array(scores, pa.float32()).to_pylist()
    return found
