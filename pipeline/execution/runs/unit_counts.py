"""What a committed unit holds, as its file's footer says it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.candidates.reasons import OF_QUERIES
from pipeline.execution.runs.format_files import checked_entries
from pipeline.hashes import Hashes, stable_hashes

_NO_HASHES: Final = np.zeros(0, np.uint64)
_NOTHING: Final[dict[str, int]] = {}
_NO_FILES: Final[list[dict[str, Any]]] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitCounts:
    """What a committed unit holds.

    Attributes:
        unit: its name.
        queries: candidate lists, empty ones among them.
        documents: candidates, quarantined ones among them.
        tokens: tokens that went through the model.
        reused: candidates whose score was taken from an earlier run; None in a run without a reuse
            table.
        special_tokens: candidates and queries that hold special tokens and of which the model read
            them as such, as ``documents`` and ``queries``; nothing where there are none.
        reasons: quarantined candidates by reason code, and queries without candidates.
        parts: files that stand before the one that closes the unit.
        query_hashes: uint64 [queries], to see a query that two units hold.
        format_files: its files in other formats, as the manifest lists them, see
            :mod:`pipeline.execution.runs.format_files`.
    """

    unit: str
    queries: int
    documents: int
    tokens: int
    special_tokens: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    reused: int | None = None
    query_hashes: npt.NDArray[np.uint64] = field(default_factory=lambda: _NO_HASHES, repr=False)
    format_files: list[dict[str, Any]] = field(default_factory=list)

    @property
    def quarantined(self) -> int:
        """Candidates without a score; a query without candidates is none of them."""
        return sum(n for code, n in self.reasons.items() if code not in OF_QUERIES)

    def compact(self) -> UnitCounts:
        """The same counts without hashes, as a driver holds those of all its units.

        What is empty is one object for all of them, which nobody writes to: a million empty
        dictionaries take 64 MB.
        """
        return replace(
            self,
            special_tokens=self.special_tokens or _NOTHING,
            reasons=self.reasons or _NOTHING,
            query_hashes=_NO_HASHES,
            format_files=self.format_files or _NO_FILES,
        )

    def to_metadata(self) -> str:
        """JSON for the footer of the unit's file."""
        hashes = base64.b64encode(self.query_hashes.astype("<u8").tobytes()).decode()
        data = self.summary() | {"parts": self.parts, "query_hashes": hashes}
        if self.format_files:
            data["format_files"] = self.format_files
        return json.dumps(data)

    def summary(self) -> dict[str, Any]:
        """The counts as plain data, without the hashes."""
        counts: dict[str, Any] = {
            "unit": self.unit,
            "queries": self.queries,
            "documents": self.documents,
            "tokens": self.tokens,
            "reasons": self.reasons,
        }
        if self.special_tokens:
            counts["special_tokens"] = self.special_tokens
        return counts if self.reused is None else counts | {"reused": self.reused}

    @classmethod
    def from_metadata(cls, text: str) -> UnitCounts:
        """The inverse of :meth:`to_metadata`.

        Raises:
            ValueError: the text is not what that writes.
        """
        try:
            data = json.loads(text)
            hashes = np.frombuffer(base64.b64decode(data.pop("query_hashes")), dtype="<u8")
            counts = cls(**data, query_hashes=hashes.astype(np.uint64))
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not the counts of a unit: {error}") from None
        reused = 0 if counts.reused is None else counts.reused
        numbers = (counts.queries, counts.documents, counts.tokens, counts.parts, reused)
        named = (counts.reasons, counts.special_tokens)
        if not all(isinstance(found, dict) for found in named) or not all(
            type(number) is int and number >= 0
            for number in (*numbers, *(n for found in named for n in found.values()))
        ):
            raise ValueError("not the counts of a unit: a number is missing or below zero")
        checked_entries(counts.format_files, counts.unit)
        return counts


def query_hashes(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """uint64: a hash of each of these query ids that is not null."""
    return stable_hashes(ids.drop_null().cast(pa.string()).to_pylist())


def total_reused(units: Iterable[UnitCounts]) -> int | None:
    """Candidates of many units whose score was taken from an earlier run; None as of a unit."""
    found = [unit.reused for unit in units if unit.reused is not None]
    return sum(found) if found else None


def total_reasons(units: Iterable[UnitCounts]) -> dict[str, int]:
    """Rows of the quarantine of many units by reason code."""
    return _summed(unit.reasons for unit in units)


def total_special_tokens(units: Iterable[UnitCounts]) -> dict[str, int]:
    """Candidates and queries of many units that hold special tokens; nothing as of a unit."""
    return _summed(unit.special_tokens for unit in units)


def _summed(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return dict(sorted(total.items()))
