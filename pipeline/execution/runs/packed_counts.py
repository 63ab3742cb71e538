"""Counts of very many units, as numbers in arrays: those of a million as objects take 0.4 GB."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from pipeline.execution.runs.unit_counts import NO_NUMBERS, UnitCounts

_ROW: Final = np.dtype(
    [(name, np.int64) for name in ("queries", "documents", "tokens", "parts", "reused")]
)

#: ``reused`` of a unit that has none.
_NONE: Final = -1


class PackedCounts(Mapping[str, UnitCounts]):
    """Counts of committed units by name, in the order of their plan, without hashes and files.

    Each is made when it is read.

    Args:
        names: of the units of the plan; others may be added, and come last.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._rows = {name: row for row, name in enumerate(names)}
        self._there = bytearray(len(self._rows))
        self._numbers = np.zeros(len(self._rows), _ROW)
        #: Of the few units that have some: reasons, and special tokens.
        self._named: dict[int, tuple[dict[str, int], dict[str, int]]] = {}
        self._length = 0

    def add(self, counts: UnitCounts) -> None:
        """Keep the counts of a unit, in the place of earlier ones."""
        row = self._rows.setdefault(counts.unit, len(self._rows))
        if row == len(self._there):
            self._there.append(0)
        if row >= len(self._numbers):
            self._numbers = np.resize(self._numbers, max(16, 2 * row))
        self._length += not self._there[row]
        self._there[row] = 1
        reused = _NONE if counts.reused is None else counts.reused
        self._numbers[row] = (
            counts.queries, counts.documents, counts.tokens, counts.parts, reused,
        )  # fmt: skip
        self._named.pop(row, None)
        if counts.reasons or counts.special_tokens:
            self._named[row] = _interned(counts.reasons), _interned(counts.special_tokens)

    def __len__(self) -> int:
        return self._length

    def __contains__(self, unit: object) -> bool:
        row = self._rows.get(unit)  # type: ignore[call-overload]
        return row is not None and bool(self._there[row])

    def __iter__(self) -> Iterator[str]:
        return (unit for unit, row in self._rows.items() if self._there[row])

    def __getitem__(self, unit: str) -> UnitCounts:
        row = self._rows[unit]
        if not self._there[row]:
            raise KeyError(unit)
        queries, documents, tokens, parts, reused = self._numbers[row].item()
        reasons, special_tokens = self._named.get(row, (NO_NUMBERS, NO_NUMBERS))
        return UnitCounts(
            unit=unit, queries=queries, documents=documents, tokens=tokens, parts=parts,
            reused=None if reused == _NONE else reused,
            reasons=reasons, special_tokens=special_tokens,
        )  # fmt: skip


def _interned(numbers: dict[str, int]) -> dict[str, int]:
    """The same with names that all units share."""
    return {sys.intern(name): number for name, number in numbers.items()}
