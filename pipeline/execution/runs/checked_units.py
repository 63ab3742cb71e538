"""Units whose files were read back and are whole, and the manifest that lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.execution.runs.unit_counts import Totals, UnitCounts
from pipeline.storage.packed_items import PackedItems


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedUnit:
    """A unit whose files are as they were written.

    Attributes:
        counts: what it holds.
        files: key, size, rows and sha256 of each of its files.
    """

    counts: UnitCounts
    files: list[dict[str, Any]]


class CheckedUnits:
    """Many of them, in the order in which they were added, as the manifest has them.

    Args:
        units: the first ones.

    Attributes:
        totals: of what they hold.
        entries: of each in the manifest; packed, for a run may have a million.
    """

    def __init__(self, units: Iterable[CheckedUnit] = ()) -> None:
        self.totals = Totals()
        self.entries = PackedItems()
        for unit in units:
            self.add(unit)

    def add(self, unit: CheckedUnit) -> None:
        """Add a unit."""
        self.totals.add(unit.counts)
        self.entries.append(unit.counts.summary() | {"files": unit.files})

    def names(self) -> Iterator[str]:
        """Names of the units."""
        return (entry["unit"] for entry in self.entries)

    def files(self) -> Iterator[dict[str, Any]]:
        """What the manifest says of every file."""
        return (file for entry in self.entries for file in entry["files"])

    def sizes(self) -> dict[str, int | None]:
        """Sizes in bytes of all files by key."""
        return {file["key"]: file["size"] for file in self.files()}


def manifest_of(
    *, run_id: str, fingerprint: str, model: str, score_scale: str, units: CheckedUnits
) -> dict[str, Any]:
    """Content of ``manifest.json``: the same for every driver that comes this far."""
    totals = units.totals
    content: dict[str, Any] = {
        "run_id": run_id,
        "fingerprint": fingerprint,
        "model": model,
        "score_scale": score_scale,
        "units": units.entries,
        "queries": totals.queries,
        "documents": totals.documents,
        "tokens": totals.tokens,
        "quarantined": totals.quarantined,
        "reasons": totals.reasons,
    }
    if special := totals.special_tokens:
        content["special_tokens"] = special
    return content if totals.reused is None else content | {"reused": totals.reused}
