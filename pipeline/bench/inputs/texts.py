"""Texts that are the same on every machine, with lengths that are exact in a tokenizer's tokens.

Words are drawn by Zipf's law from a bundled list (words of Python's documentation, most frequent
first). Lengths come from stored tables of 256 quantiles, walked in a fixed order, so that even a
small workload has the spread of a large one; chance has no part in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Lengths = Callable[[list[str]], Int64s]

#: Zipf-Mandelbrot: the word of rank r has the weight 1 / (r + 2.7).
_OFFSET: Final = 2.7

#: How words stand in a text, and how often.
_FORMS: Final[tuple[tuple[Callable[[str], str], float], ...]] = (
    (str, 0.84),
    (str.capitalize, 0.04),
    (lambda word: f"{word},", 0.06),
    (lambda word: f"{word}.", 0.06),
)

#: Steps by the golden section fill an interval evenly, however many there are.
_GOLDEN: Final = 0.6180339887498949


@cache
def words() -> tuple[str, ...]:
    """The bundled words, most frequent first."""
    text = files(__package__).joinpath("data", "words.txt").read_text(encoding="utf-8")
    return tuple(text.split())


@cache
def tables() -> dict[str, tuple[int, ...]]:
    """256 quantiles of each kind of text's length in tokens, by name."""
    text = files(__package__).joinpath("data", "lengths.json").read_text(encoding="utf-8")
    return {name: tuple(values) for name, values in json.loads(text).items()}


def lengths(table: str, count: int) -> Int64s:
    """int64 [count]: lengths whose distribution is that of a stored table."""
    quantiles = np.array(tables()[table], dtype=np.int64)
    places = (0.5 + _GOLDEN * np.arange(count)) % 1.0
    return quantiles[(places * len(quantiles)).astype(np.int64)]


def uniforms(seed: int, count: int) -> npt.NDArray[np.float64]:
    """float64 [count] in [0, 1): splitmix64, so that no library's version changes a text.

    Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    state = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 40)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Writer:
    """Writes texts of so many tokens.

    Args:
        tokens: texts to how many tokens each alone has, int64 [n]. The tokenizer must cut at
            spaces, so that the tokens of a text are those of its words.
    """

    def __init__(self, tokens: Lengths) -> None:
        forms = [(form(word), rank, share) for form, share in _FORMS
                 for rank, word in enumerate(words())]  # fmt: skip
        self._forms = np.array([text for text, _, _ in forms], dtype=object)
        weights = np.array([share / (rank + _OFFSET) for _, rank, share in forms])
        self._upto = np.cumsum(weights) / weights.sum()
        plain = [text for text, _, _ in forms]
        self._first = tokens(plain)
        alone = int(self._first[0])
        self._following = tokens([f"{plain[0]} {text}" for text in plain]) - alone
        short = np.flatnonzero((self._first == 1) & (self._following == 1))
        if len(short) == 0:
            raise ValueError("no word of the list is one token; the tokenizer does not fit it")
        self._filler = int(short[0])

    def write(self, lengths: Int64s, *, seed: int) -> list[str]:
        """One text per length [n], of exactly that many tokens; the same for the same seed."""
        ends = np.cumsum(lengths)
        starts = ends - lengths
        drawn = np.searchsorted(self._upto, uniforms(seed, int(ends[-1]) if len(ends) else 0))
        drawn = np.minimum(drawn, len(self._forms) - 1)
        costs = self._following[drawn]
        costs[starts] = self._first[drawn[starts]]
        spent = np.cumsum(costs)
        before = np.where(starts > 0, spent[starts - 1], 0)
        inside = spent - np.repeat(before, lengths) <= np.repeat(lengths, lengths)
        kept = np.add.reduceat(inside, starts) if len(starts) else starts
        texts = []
        for start, length, base, count in zip(
            starts.tolist(), lengths.tolist(), before.tolist(), kept.tolist(), strict=True
        ):
            used = int(spent[start + count - 1]) - base if count else 0
            chosen = self._forms[drawn[start : start + count]].tolist()
            texts.append(" ".join(chosen + [str(self._forms[self._filler])] * (length - used)))
        return texts
