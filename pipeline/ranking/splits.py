"""Judged queries in two parts: what is chosen on the one is measured on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from pipeline.errors import InputContractError

#: Queries of either part below which nothing can be told.
LEAST: Final = 5


def split(queries: Iterable[str], *, share: float, seed: int) -> tuple[list[str], list[str]]:
    """The queries to choose on, and those to measure on, in the order given.

    Which part a query is in depends on its id and the seed alone, so that a query which joins the
    judgements later moves no other.

    Args:
        queries: ids.
        share: of the first part.
        seed: draws them.

    Raises:
        InputContractError: fewer than :data:`LEAST` in either part.
    """
    drawn = {query: _place(query, seed) < share for query in queries}
    chosen = [query for query, first in drawn.items() if first]
    rest = [query for query, first in drawn.items() if not first]
    if min(len(chosen), len(rest)) < LEAST:
        raise InputContractError(
            f"{len(drawn)} judged queries are in this run, {len(chosen)} of them drawn to choose "
            f"on and {len(rest)} to measure on; expected at least {LEAST} of either"
        )
    return chosen, rest


def _place(query: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{query}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
