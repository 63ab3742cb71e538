"""Whether conditional writes of a store work: tried with many writers before a run relies on them.

Some stores accept the conditions and ignore them, or check them first and write later; both lose
units and leases without an error. What is written here has names of its own and is removed.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import ConfigurationError
from pipeline.storage.store import (
    create_if_absent,
    delete,
    join,
    read_versioned,
    replace_if_unchanged,
)

T = TypeVar("T")

#: How the names of the probe's own files begin; one that is killed leaves some behind.
PREFIX = "_probe-"

_WRITERS, _KEYS, _SWAPS = 8, 5, 3


@dataclass(frozen=True, kw_only=True)
class StoreAbilities:
    """What a store really does.

    Attributes:
        create: of many writers of one name exactly one wins, and its content stays.
        replace: of many that replace the same version exactly one wins, and an old version is
            refused; what was written is read back at once.
        detail: one line for the log: what was tried, and what went wrong.
    """

    create: bool
    replace: bool
    detail: str


def probe(folder: str) -> StoreAbilities:
    """Race :data:`_WRITERS` writers for a few names in ``folder``, and for a few replacements.

    Raises:
        AccessDeniedError, NotFoundError, StorageError: the folder cannot be written to at all.
    """
    names = [join(folder, f"{PREFIX}{uuid.uuid4().hex}-{i}") for i in range(_KEYS + 1)]
    try:
        created = next(filter(None, (_create_race(name) for name in names[:_KEYS])), "")
        try:
            replaced = _swap_races(names[_KEYS])
        except ConfigurationError as error:  # this kind of store has no compare-and-swap
            replaced = str(error)
    finally:
        for name in names:
            delete(name)
    tried = f"{_KEYS} names and {_SWAPS} replacements, {_WRITERS} writers each"
    found = "; ".join(filter(None, (created, replaced))) or "one winner each"
    return StoreAbilities(
        create=not created, replace=not replaced, detail=f"{folder}: {tried}: {found}"
    )


def _create_race(path: str) -> str:
    """What went wrong; empty where nothing did."""
    won = _race(lambda i: create_if_absent(path, b"%d" % i))
    winners = [i for i, mine in enumerate(won) if mine]
    if len(winners) != 1:
        return f"{len(winners)} of {_WRITERS} writers created the same file"
    found = read_versioned(path)
    if found is None or found[0] != b"%d" % winners[0]:
        return "the file that was created is not the one that is read"
    return ""


def _swap_races(path: str) -> str:
    """Several rounds on one file; what went wrong in the first that failed."""
    create_if_absent(path, b"first")
    found = read_versioned(path)
    if found is None:
        return "the file that was created cannot be read"
    first = version = found[1]
    for number in range(_SWAPS):
        problem, version = _swap_race(path, version, f"round {number}, writer ")
        if not problem and replace_if_unchanged(path, b"late", first) is not None:
            problem = "a version that was gone could be replaced"
        if problem:
            return problem
    return ""


def _swap_race(path: str, version: str, prefix: str) -> tuple[str, str]:
    """What went wrong, and the version that the winner made."""
    contents = [f"{prefix}{i}".encode() for i in range(_WRITERS)]
    made = _race(lambda i: replace_if_unchanged(path, contents[i], version))
    winners = [i for i, mine in enumerate(made) if mine is not None]
    if len(winners) != 1:
        return f"{len(winners)} of {_WRITERS} writers replaced the same version", version
    expected = (contents[winners[0]], str(made[winners[0]]))
    if read_versioned(path) != expected:
        return "the file that was replaced is not the one that is read", version
    return "", expected[1]


def _race(write: Callable[[int], T]) -> list[T]:
    """Results of all writers, started at the same moment."""
    start = threading.Barrier(_WRITERS)

    def run(i: int) -> T:
        start.wait()
        return write(i)

    with ThreadPoolExecutor(_WRITERS) as pool:
        return list(pool.map(run, range(_WRITERS)))
