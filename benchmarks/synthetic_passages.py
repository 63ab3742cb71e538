"""Candidate lists of texts as web passages are: cut from a text, with words that are new."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.tokenization.chunk_check import AWKWARD

#: Documents of a list, and of a unit: the workers that encode get some thousands at once.
_CANDIDATES: Final = 100
_UNIT: Final = 5_000
#: Words between two made-up ones. On web passages (TREC DL 2019 and 2021) one word in 20 is new
#: after 10,000 passages; by Heaps' law it would be one in 70 after a million.
_KNOWN_WORDS: Final = 25
#: Of so many documents one holds awkward text.
_AWKWARD_EVERY: Final = 100
_ACCENTS: Final = "éüßøłñçж"


class Passages:
    """Documents and queries cut from a text, with made-up words between.

    Args:
        text: to cut from.
        special: texts of special tokens, which some documents hold.
        seed: of everything.
    """

    def __init__(self, text: str, special: list[str], *, seed: int) -> None:
        self._text = text
        self._starts = [match.start() for match in re.finditer(r"\S+", text)]
        self._awkward = [*AWKWARD, *special]
        self._random = random.Random(seed)

    def query(self) -> str:
        """Five to nine words; short enough that the library never refuses to cut the document."""
        return self._cut(self._random.randint(5, 9))[:80]

    def document(self) -> str:
        """Some 35 words, 75 tokens; every 25 words a new one."""
        left, parts = max(8, int(self._random.gauss(35, 14))), []
        for size in (*[_KNOWN_WORDS] * (left // _KNOWN_WORDS), left % _KNOWN_WORDS):
            parts += [self._cut(size), self._new_word()]
        parts.pop()
        if self._random.random() * _AWKWARD_EVERY < 1:
            parts.insert(1, self._random.choice(self._awkward))
        return " ".join(parts)

    def _cut(self, words: int) -> str:
        first = self._random.randrange(len(self._starts) - words)
        return self._text[self._starts[first] : self._starts[first + words]].strip()

    def _new_word(self) -> str:
        if self._random.random() < 0.2:
            return str(self._random.randrange(10**6))
        first, last = (self._cut(1) for _ in range(2))
        accent = self._random.choice(_ACCENTS) if self._random.random() < 0.1 else ""
        return first[:4] + accent + last[-3:]


def units(passages: Passages, pairs: int, reuse: int) -> Iterator[CandidateLists]:
    """Candidate lists with so many pairs in all; each document is in ``reuse`` lists of a unit."""
    for first in range(0, pairs, _UNIT):
        rows = min(_UNIT, pairs - first)
        documents = [passages.document() for _ in range(-(-rows // reuse))]
        queries = [passages.query() for _ in range(-(-rows // _CANDIDATES))]
        offsets = np.minimum(np.arange(len(queries) + 1) * _CANDIDATES, rows)
        yield CandidateLists(
            queries=pa.table({schema.QUERY: queries}),
            offsets=offsets,
            documents=pa.table({schema.TEXT: (documents * reuse)[:rows]}),
        )
