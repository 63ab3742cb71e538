"""How rankings lie in Redis, and how a service reads them.

Below a prefix ``P``::

    P:current                 hash: epoch, generation, previous_epoch, previous_generation
    P:EPOCH:q:QUERY_ID        hash: a field per generation in which the list changed
    P:EPOCH:touched:NUMBER    set of the query ids that generation NUMBER wrote, for cleaning
    P:EPOCH:parts:NUMBER      set of the parts of generation NUMBER that are there whole
    P:begun                   set of EPOCH:NUMBER whose keys may lie in the store

A field's value is JSON, ``{"doc_ids": [...], "scores": [...]}`` in rank order, a score null where
there is none; or empty where the query is gone. The list of a query in generation G is the field
with the highest number that is at most G. So one night writes what changed and nothing else, and
no reader sees it before ``P:current`` names the new generation. Every full load begins an epoch.

A generation stays readable until the next but one is switched to: longer than a request takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa

from pipeline.outputs.feeds.support.ranked_lists import json_bytes, ranked_lists

#: Value of a query that is gone.
TOMBSTONE: Final = b""
_FIELDS: Final = ("epoch", "generation", "previous_epoch", "previous_generation")
_TRIES: Final = 5


class Place(NamedTuple):
    """A generation in its epoch. Those switched to later are greater."""

    epoch: int
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.number}"

    @classmethod
    def parse(cls, text: bytes) -> Place:
        """The inverse of ``str``."""
        epoch, number = text.split(b":")
        return cls(int(epoch), int(number))


@dataclass(frozen=True)
class Switch:
    """What ``P:current`` says: what is served, and what was served before; None for nothing."""

    current: Place | None
    previous: Place | None

    @classmethod
    def parse(cls, values: Sequence[bytes | None]) -> Switch:
        """From what ``HMGET`` gives for :data:`_FIELDS`."""
        return cls(_place(values[0], values[1]), _place(values[2], values[3]))

    def after(self, place: Place) -> dict[str, int]:
        """Fields of ``P:current`` when ``place`` is served next."""
        fields = {"epoch": place.epoch, "generation": place.number}
        if self.current is not None:
            fields["previous_epoch"] = self.current.epoch
            fields["previous_generation"] = self.current.number
        return fields


@dataclass(frozen=True)
class Keys:
    """The names of the keys below a prefix."""

    prefix: str

    @property
    def current(self) -> str:
        """The switch."""
        return f"{self.prefix}:current"

    @property
    def begun(self) -> str:
        """What may lie in the store."""
        return f"{self.prefix}:begun"

    def query(self, epoch: int, query_id: Any) -> bytes:
        """Versions of one list."""
        name = query_id if isinstance(query_id, bytes) else str(query_id).encode()
        return f"{self.prefix}:{epoch}:q:".encode() + name

    def touched(self, place: Place) -> str:
        """Query ids that a generation wrote."""
        return f"{self.prefix}:{place.epoch}:touched:{place.number}"

    def parts(self, place: Place) -> str:
        """Parts of a generation that are there."""
        return f"{self.prefix}:{place.epoch}:parts:{place.number}"

    def of_epoch(self, epoch: int) -> str:
        """Pattern that all keys of an epoch match, for ``SCAN``; others may as well."""
        return f"{self.prefix}:{epoch}:*"

    def is_of_epoch(self, name: bytes, epoch: int) -> bool:
        """Whether a key that matches :meth:`of_epoch` is ours.

        Another feed may have the prefix ``shop:2``, beside epoch 2 of ``shop``.
        """
        rest = name.removeprefix(f"{self.prefix}:{epoch}:".encode())
        return rest.startswith((b"q:", b"touched:", b"parts:"))


def switch_of(client: Any, keys: Keys) -> Switch:
    """What is served now."""
    return Switch.parse(client.hmget(keys.current, _FIELDS))


def encoded(lists: pa.Table) -> Iterator[tuple[Any, bytes]]:
    """Query id and value of each row of :meth:`ChangePart.lists`."""
    for query_id, ranked in ranked_lists(lists):
        yield query_id, TOMBSTONE if ranked is None else json_bytes(ranked)


def version_at(versions: Mapping[bytes, bytes], number: int) -> dict[str, list[Any]] | None:
    """The list of a query in a generation, of its hash's fields; None where it has none."""
    newest = max((int(field) for field in versions if int(field) <= number), default=None)
    value = TOMBSTONE if newest is None else versions[b"%d" % newest]
    if value == TOMBSTONE:
        return None
    found: dict[str, list[Any]] = json.loads(value)
    return found


def read(
    client: Any, prefix: str, query_ids: Sequence[str | int]
) -> tuple[int | None, list[dict[str, list[Any]] | None]]:
    """Lists of several queries, all of one generation: what a service does for a request.

    Args:
        client: ``redis.Redis`` without ``decode_responses``.
        prefix: of the feed.
        query_ids: whose lists are wanted.

    Returns:
        The generation, None where nothing is served, and for each query ``{"doc_ids": [...],
        "scores": [...]}`` or None.

    Raises:
        RuntimeError: the store was switched more than twice during each of several tries.
    """
    keys = Keys(prefix)
    for _ in range(_TRIES):
        place = switch_of(client, keys).current
        if place is None:
            return None, [None] * len(query_ids)
        commands = client.pipeline(transaction=False)
        for query_id in query_ids:
            commands.hgetall(keys.query(place.epoch, query_id))
        commands.hmget(keys.current, _FIELDS)
        *found, last = commands.execute()
        now = Switch.parse(last)
        # What two switches ago was current may have been cleaned away between the commands.
        if place in (now.current, now.previous):
            return place.number, [version_at(versions, place.number) for versions in found]
    raise RuntimeError(f"{keys.current} was switched more than twice in each of {_TRIES} tries")


def _place(epoch: bytes | None, number: bytes | None) -> Place | None:
    return None if epoch is None or number is None else Place(int(epoch), int(number))
