"""Many documents at a time: windows over a list, the prompt, and reading the model's permutation.

Pure functions. After Sun et al., "Is ChatGPT Good at Search? Investigating Large Language Models
as Re-Ranking Agents" (RankGPT, 2023). Windows follow RankLLM, which clamps the last one to the
front of the list; RankGPT's first code left the front out where the steps did not fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: A passage's own bracketed numbers would read as identifiers.
_IDENTIFIER_IN_TEXT: Final = re.compile(r"\[([0-9]+)\]")
_IDENTIFIER: Final = re.compile(r"\[\s*([0-9]+)\s*\]")
_NUMBER: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Permutation:
    """What a model answered, made whole.

    Attributes:
        order: places of the window, best first; every place once.
        repaired: whether the answer named other things than every place exactly once.
    """

    order: tuple[int, ...]
    repaired: bool


def windows(count: int, *, size: int, stride: int) -> list[tuple[int, int]]:
    """From the back of a list to its front: places ``[start, end)`` of each window.

    Args:
        count: documents; fewer than two need no window.
        size: places of a window.
        stride: how far it moves to the front each time; at most ``size``.
    """
    found: list[tuple[int, int]] = []
    end = count
    while count > 1:
        start = max(end - size, 0)
        found.append((start, end))
        if start == 0:
            break
        end -= stride
    return found


def head(count: int) -> str:
    """The prompt up to the query's first mention."""
    return (
        f"I will give you {count} passages, each with a number in brackets. Rank them by how "
        "relevant they are to the search query:"
    )


def label(number: int) -> str:
    """What stands before a passage."""
    return f"\n[{number}]"


def tail(count: int) -> str:
    """The prompt after the query's second mention."""
    return (
        f"\nRank the {count} passages above, the most relevant first. List every passage by its "
        "number, as in [2] > [1]. Answer with the ranking only."
    )


#: What stands between the last passage and the query's second mention.
AGAIN: Final = "\n\nSearch query:"


def answer(order: tuple[int, ...]) -> str:
    """The well-formed answer for an order; places count from 0, numbers from 1."""
    return " > ".join(f"[{place + 1}]" for place in order)


def without_identifiers(text: str) -> str:
    """``[3]`` inside a passage as ``(3)``."""
    return _IDENTIFIER_IN_TEXT.sub(r"(\1)", text)


def parse(text: str) -> list[int]:
    """The numbers that an answer names, in its order: bracketed ones, or all where none is."""
    return [_number(digits) for digits in _IDENTIFIER.findall(text) or _NUMBER.findall(text)]


def _number(digits: str) -> int:
    """An absurdly long number is out of any range, and need not be computed."""
    return int(digits) if len(digits) < 10 else 0


def repair(numbers: list[int], count: int) -> Permutation:
    """Numbers from 1 to an order of all places from 0.

    Repetitions and numbers out of range are dropped; what is missing follows in the order that it
    already had.

    Args:
        numbers: as :func:`parse` gives them.
        count: places of the window.
    """
    named = dict.fromkeys(number - 1 for number in numbers if 1 <= number <= count)
    missing = [place for place in range(count) if place not in named]
    whole = not missing and len(numbers) == count
    return Permutation(order=(*named, *missing), repaired=not whole)
