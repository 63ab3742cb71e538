"""Redis and stores that speak its protocol: the ranked list of each query under a key of its own.

Plain commands only, no scripts. A night writes a version of each list that changed; one key says
which versions are served. How a service reads them is in [serving.md](serving.md#redis).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import FeedError
from pipeline.extras import library
from pipeline.outputs.feeds.support.addresses import VariableName, address_in
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.redis_layout import Keys, Place, encoded, switch_of

#: Queries whose commands are sent together.
_BATCH: Final = 500


class RedisSettings(Settings):
    """Where rankings lie in Redis."""

    prefix: str = Field(
        "rerank",
        pattern=r"^[A-Za-z0-9_.:-]{1,100}$",
        description="Begins the names of all keys; two feeds of one server need two.",
    )
    url_env: VariableName = Field(
        "REDIS_URL",
        description="Environment variable with the server's address, and a password if it has "
        "one: redis://HOST:PORT/DB, rediss:// for TLS, or unix://SOCKET.",
    )


class RedisFeed(Feed):
    """Versions of each list, and one key that says which are served."""

    Settings = RedisSettings

    def __init__(self, settings: RedisSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._keys = Keys(settings.prefix)
        self._connected: Any = None
        self._own: Place | None = None

    def held(self) -> int | None:
        """What ``P:current`` names."""
        current = switch_of(self._client, self._keys).current
        return None if current is None else current.number

    def keeps(self, delivery: Delivery) -> bool:
        """Whether the store remembers that the delivery was begun."""
        return self._begun_before(delivery) is not None

    def begin(self, delivery: Delivery) -> None:
        """Remove what other attempts left, and note down that this one is under way."""
        current = self._expected(delivery)
        own = self._begun_before(delivery) if delivery.resumed else None
        for place in self._begun():
            if place != own and (current is None or place > current):
                self._discard(place, current)
        if own is None:
            epoch = 0 if current is None else current.epoch
            own = Place(epoch + 1 if delivery.full else epoch, delivery.generation)
            self._client.sadd(self._keys.begun, str(own))
        self._own = own

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Write a version of each list, after noting down its query, which cleaning looks for."""
        assert self._own is not None, "begin comes first"
        own = self._own
        for batch in _batches(encoded(part.lists())):
            commands = self._client.pipeline(transaction=False)
            if not delivery.full:  # a whole epoch is found by its name
                commands.sadd(self._keys.touched(own), *(query_id for query_id, _ in batch))
            for query_id, value in batch:
                commands.hset(self._keys.query(own.epoch, query_id), str(own.number), value)
            commands.execute()
        self._client.sadd(self._keys.parts(own), number)

    def switch(self, delivery: Delivery) -> None:
        """Point ``P:current`` to the generation, unless somebody else did meanwhile."""
        redis = library("redis", extra="redis", needed_by=f"feed '{self.name}'")
        assert self._own is not None, "begin comes first"
        with self._client.pipeline() as transaction:
            transaction.watch(self._keys.current)
            before = switch_of(transaction, self._keys)
            if before.current == self._own:
                return
            self._expected(delivery)
            self._refuse_loss(delivery)
            transaction.multi()
            transaction.hset(self._keys.current, mapping=before.after(self._own))
            try:
                transaction.execute()
            except redis.WatchError:
                raise self._overtaken() from None

    def clean(self, delivery: Delivery) -> None:
        """Remove versions that only readers before the previous generation would need."""
        switch = switch_of(self._client, self._keys)
        served = [place for place in (switch.current, switch.previous) if place is not None]
        for place in self._begun():
            if place.epoch not in {each.epoch for each in served}:
                self._remove_epoch(place.epoch)
                self._forget(place)
            elif switch.previous is not None and place <= switch.previous:
                self._prune(place)
                if place != switch.previous:
                    self._forget(place)

    def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    @property
    def _client(self) -> Any:
        if self._connected is None:
            redis = library("redis", extra="redis", needed_by=f"feed '{self.name}'")
            url = address_in(
                self.settings.url_env, feed=self.name, example="redis://localhost:6379/0"
            )
            self._connected = redis.Redis.from_url(url)
        return self._connected

    def _begun(self) -> list[Place]:
        """What may lie in the store, in the order of switches."""
        return sorted(Place.parse(text) for text in self._client.smembers(self._keys.begun))

    def _begun_before(self, delivery: Delivery) -> Place | None:
        """The place of this delivery, where it was begun; a full load has an epoch of its own."""
        current = switch_of(self._client, self._keys).current
        for place in reversed(self._begun()):  # what is served may be loaded once more
            if place.number != delivery.generation or (current is not None and place < current):
                continue
            own_epoch = current is None or place.epoch > current.epoch
            if place == current or own_epoch == delivery.full:
                return place
        return None

    def _expected(self, delivery: Delivery) -> Place | None:
        """What is served now.

        Raises:
            FeedError: it is not what the changes start from.
        """
        current = switch_of(self._client, self._keys).current
        number = None if current is None else current.number
        if delivery.full or number in (delivery.base, delivery.generation):
            return current
        raise self._overtaken()

    def _overtaken(self) -> FeedError:
        return FeedError(
            f"feed '{self.name}': {self._keys.current} was switched by somebody else meanwhile; "
            "only one job may feed a prefix. Feed again"
        )

    def _refuse_loss(self, delivery: Delivery) -> None:
        """A server that came back from an older snapshot has lost parts that it had taken."""
        assert self._own is not None
        there = self._client.scard(self._keys.parts(self._own))
        if there != delivery.parts:
            self._discard(self._own, switch_of(self._client, self._keys).current)
            raise FeedError(
                f"feed '{self.name}': the server has lost {delivery.parts - there} of "
                f"{delivery.parts} part(s) that it had taken; was it restarted from an older "
                "snapshot? Feeding again begins anew"
            )

    def _discard(self, place: Place, current: Place | None) -> None:
        """Undo a delivery that was never switched to."""
        if current is None or place.epoch != current.epoch:
            self._remove_epoch(place.epoch)
        else:
            for batch in self._touched(place):
                commands = self._client.pipeline(transaction=False)
                for query_id in batch:
                    commands.hdel(self._keys.query(place.epoch, query_id), str(place.number))
                commands.execute()
        self._forget(place)

    def _prune(self, place: Place) -> None:
        """Remove tombstones of a generation, and older versions of the lists that it wrote."""
        for batch in self._touched(place):
            questions = self._client.pipeline(transaction=False)
            names = [self._keys.query(place.epoch, query_id) for query_id in batch]
            for name in names:
                questions.hkeys(name).hstrlen(name, str(place.number))
            answers = questions.execute()
            commands = self._client.pipeline(transaction=False)
            for name, fields, size in zip(names, answers[::2], answers[1::2], strict=True):
                old = [field for field in fields if int(field) < place.number + (size == 0)]
                if old:
                    commands.hdel(name, *old)
            commands.execute()
        self._client.delete(self._keys.touched(place), self._keys.parts(place))

    def _forget(self, place: Place) -> None:
        self._client.delete(self._keys.touched(place), self._keys.parts(place))
        self._client.srem(self._keys.begun, str(place))

    def _remove_epoch(self, epoch: int) -> None:
        found = self._client.scan_iter(match=self._keys.of_epoch(epoch), count=_BATCH)
        names = (name for name in found if self._keys.is_of_epoch(name, epoch))
        for batch in _batches(names):
            self._client.unlink(*batch)

    def _touched(self, place: Place) -> Iterator[list[bytes]]:
        return _batches(self._client.sscan_iter(self._keys.touched(place), count=_BATCH))


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch
