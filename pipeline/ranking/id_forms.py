"""Ids that mean the same to a person and not to a join: ``12`` and ``12.0``, ``Q1`` and ``q1``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ranking.qrels import shown

#: Pairs that are shown of each kind.
SHOWN: Final = 2


def _unicode_form(ids: pa.Array) -> pa.Array:
    return pc.utf8_normalize(ids, form="NFC")


def _white_space(ids: pa.Array) -> pa.Array:
    one = pc.replace_substring_regex(ids, r"[\pZ\s\x{200b}\x{feff}]+", " ")
    return pc.utf8_trim(one, " ")


def _number_form(ids: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(ids, r"^([+-]?)0*([0-9]+)(\.0*)?$", r"\1\2")


#: How two ids can differ, and what makes them alike. What a table library does to numbers (``7``,
#: ``07`` and ``7.0`` are one number to it) is called type, for that is what was lost.
_FORMS: Final[dict[str, Callable[[pa.Array], pa.Array]]] = {
    "Unicode form": _unicode_form,
    "white space": _white_space,
    "letter case": pc.utf8_lower,
    "type": _number_form,
}


@dataclass(frozen=True, kw_only=True)
class NearIds:
    """Ids on two sides that differ by form alone, and so never meet.

    Attributes:
        forms: what they differ by, such as ``letter case``; several joined by ``and``.
        count: how many of the first side.
        examples: at most :data:`SHOWN` pairs.
    """

    forms: str
    count: int
    examples: tuple[tuple[str, str], ...]

    def described(self, ours: str, theirs: str) -> str:
        """Kind and examples, with the names of the two sides."""
        pairs = ", ".join(
            f"{shown(a)} in {ours} and {shown(b)} in {theirs}" for a, b in self.examples
        )
        return f"by {self.forms} alone, such as {pairs}"


def canonical(ids: Sequence[str] | pa.Array) -> list[str]:
    """What ids have in common with others that differ from them by form alone."""
    found = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.large_string())
    for form in _FORMS.values():
        found = form(found)
    return list(found.to_pylist())


def near_ids(pairs: Sequence[tuple[str, str]]) -> tuple[NearIds, ...]:
    """Pairs of ids whose canonical forms are equal, by what they differ in; the most first."""
    ours, theirs = (pa.array([pair[side] for pair in pairs], pa.large_string()) for side in (0, 1))
    kinds: list[str | None] = [None] * len(pairs)
    for count in range(1, len(_FORMS) + 1):
        for names in combinations(_FORMS, count):
            alike = pc.equal(_alike(ours, names), _alike(theirs, names)).to_pylist()
            kinds = [
                kind or (" and ".join(names) if same else None)
                for kind, same in zip(kinds, alike, strict=True)
            ]
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for kind, pair in zip(kinds, pairs, strict=True):
        by_kind.setdefault(kind or "form", []).append(pair)
    found = (
        NearIds(forms=kind, count=len(members), examples=tuple(members[:SHOWN]))
        for kind, members in by_kind.items()
    )
    return tuple(sorted(found, key=lambda near: (-near.count, near.forms)))


def matched(
    ours: Sequence[tuple[Hashable, str]], theirs: Sequence[tuple[Hashable, str]]
) -> list[tuple[str, str]]:
    """Pairs of ids, each with the place that it belongs to, that are alike within a place.

    Args:
        ours: place and id; an id takes part in one pair at most.
        theirs: likewise, of the other side; none of them is an id of ours in the same place.
    """
    forms = canonical([name for _, name in theirs])
    there = {
        (place, form): name for (place, name), form in zip(theirs[::-1], forms[::-1], strict=True)
    }
    forms = canonical([name for _, name in ours])
    return [
        (name, there[place, form])
        for (place, name), form in zip(ours, forms, strict=True)
        if (place, form) in there
    ]


def _alike(ids: pa.Array, names: Sequence[str]) -> pa.Array:
    for name in names:
        ids = _FORMS[name](ids)
    return ids
