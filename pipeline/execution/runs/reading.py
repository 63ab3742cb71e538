"""Work on many small files at once, of which no more waits than what is soon taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Items that are handed to the threads together: an executor keeps about a kilobyte for each.
_AT_ONCE: Final = 4_096


def mapped(work: Callable[[T], R], items: Iterable[T], *, threads: int) -> Iterator[R]:
    """What ``work`` makes of each item, in their order, by some threads."""
    waiting = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(waiting, _AT_ONCE)):
            yield from pool.map(work, some)
