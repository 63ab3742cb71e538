"""Rounds in which everyone goes once, and ratios of what two took in the same rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pipeline.bench.measuring import Spread

#: Paired rounds below which no ratio is stated.
ROUNDS_FOR_A_RATIO: Final = 3


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """How many times what ``ours`` took ``theirs`` took, round by round.

    None under three rounds: one lucky round is no result.
    """
    if len(ours) < ROUNDS_FOR_A_RATIO:
        return None
    return Spread.of([b / a for a, b in zip(ours, theirs, strict=True)])


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Who goes when: everyone once a round, and each round begins with the next one."""
    for number in range(rounds):
        shift = number % len(names)
        for name in [*names[shift:], *names[:shift]]:
            yield number, name
