"""What a committed unit holds, as its file's footer says it."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.candidates.reasons import OF_QUERIES
from pipeline.execution.runs.format_files import checked_entries
from pipeline.hashes import Hashes, stable_hashes

_NO_HASHES: Final = np.zeros(0, np.uint64)

#: Reasons, or special tokens, of a unit that has none: one object, which nobody writes to.
NO_NUMBERS: Final[dict[str, int]] = {}
_NO_FILES: Final[list[dict[str, Any]]] = []
_NO_DIGESTS: Final[dict[str, str]] = {}

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

#: More than any number of a unit; sums of a million of them fit into 64 bits.
_MOST: Final = 1 << 40

#: Counts that an entry of the manifest has, those that it may lack among them.
_IN_MANIFEST: Final = (
    "unit", "queries", "documents", "tokens", "reasons", "special_tokens", "reused",
)  # fmt: skip


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
        digests: sha256 of its parts and of its quarantine by key, so that files of two scorings,
            each whole, are not taken for one unit; nothing in the files of earlier versions.
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
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        """Candidates without a score; a query without candidates is none of them."""
        return candidates_among(self.reasons)

    def compact(self) -> UnitCounts:
        """The same counts without hashes, where those of very many units are held.

        What is empty is one object for all of them, which nobody writes to: a million empty
        dictionaries take 64 MB.
        """
        return replace(
            self,
            special_tokens=self.special_tokens or NO_NUMBERS,
            reasons=self.reasons or NO_NUMBERS,
            query_hashes=_NO_HASHES,
            format_files=self.format_files or _NO_FILES,
            digests=_NO_DIGESTS,
        )

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> UnitCounts:
        """As :meth:`compact`, of what a manifest says of a unit."""
        return cls(**{name: entry[name] for name in _IN_MANIFEST if name in entry}).compact()

    def to_metadata(self) -> str:
        """JSON for the footer of the unit's file."""
        hashes = base64.b64encode(self.query_hashes.astype("<u8").tobytes()).decode()
        data = self.summary() | {"parts": self.parts, "query_hashes": hashes}
        if self.format_files:
            data["format_files"] = self.format_files
        if self.digests:
            data["digests"] = self.digests
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
            type(number) is int and 0 <= number < _MOST
            for number in (*numbers, *(n for found in named for n in found.values()))
        ):
            raise ValueError("not the counts of a unit: a number is missing, negative or too large")
        checked_entries(counts.format_files, counts.unit)
        if not isinstance(counts.digests, dict) or not all(
            isinstance(digest, str) and _SHA256.fullmatch(digest)
            for digest in counts.digests.values()
        ):
            raise ValueError("not the counts of a unit: a digest is no sha256")
        return counts


@dataclass(kw_only=True)
class Totals:
    """What many units hold together, added up one by one.

    Attributes:
        units: how many.
        queries: candidate lists of all of them; all others as well are as of a unit.
        documents: candidates.
        tokens: tokens that went through the model.
        quarantined: candidates without a score.
        reused: candidates whose score was taken from an earlier run; None where no unit says.
    """

    units: int = 0
    queries: int = 0
    documents: int = 0
    tokens: int = 0
    quarantined: int = 0
    reused: int | None = None
    _reasons: Counter[str] = field(default_factory=Counter)
    _special_tokens: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, units: Iterable[UnitCounts]) -> Totals:
        """Of these, which are gone through once."""
        totals = cls()
        for counts in units:
            totals.add(counts)
        return totals

    def add(self, counts: UnitCounts) -> None:
        """Add a unit."""
        self.units += 1
        self.queries += counts.queries
        self.documents += counts.documents
        self.tokens += counts.tokens
        if counts.reused is not None:
            self.reused = (self.reused or 0) + counts.reused
        if counts.reasons:
            self.quarantined += counts.quarantined
            self._reasons.update(counts.reasons)
        if counts.special_tokens:
            self._special_tokens.update(counts.special_tokens)

    @property
    def reasons(self) -> dict[str, int]:
        """Rows of the quarantine by reason code, sorted."""
        return dict(sorted(self._reasons.items()))

    @property
    def special_tokens(self) -> dict[str, int]:
        """Candidates and queries that hold special tokens; nothing as of a unit."""
        return dict(sorted(self._special_tokens.items()))


def candidates_among(reasons: Mapping[str, int]) -> int:
    """Candidates among rows of a quarantine, by reason code; the others are of whole queries."""
    return sum(number for code, number in reasons.items() if code not in OF_QUERIES)


def query_hashes(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    """uint64: a hash of each of these query ids that is not null."""
    return stable_hashes(ids.drop_null().cast(pa.string()).to_pylist())
