"""Which columns of judgements are which, by the names that tools give them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline import schema

#: Names of the grade, of TREC's terms, BEIR, MTEB, ir_datasets and PyTerrier; of several in a file
#: the first of these is taken.
GRADES: Final = ("relevance", "rel", "grade", "label", "judgment", "judgement", "score")

#: What is expected, in the order of a judgement.
ROLES: Final = (schema.QUERY_ID, schema.DOC_ID, "relevance")

_NAMES: Final = (schema.ALIASES[schema.QUERY_ID], schema.ALIASES[schema.DOC_ID], GRADES)


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line of judgements as text.

    Attributes:
        names: of all columns.
        places: of query id, document id and grade.
        comma: columns are separated by commas, and values may be quoted; else by tabs or blanks.
    """

    names: tuple[str, ...]
    places: tuple[int, int, int]
    comma: bool


def places_of(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Places of query id, document id and grade among names; None where one is missing.

    Case does not matter, nor whether words are joined by ``-`` or ``_``.
    """
    known = [_plain(name) for name in names]
    found = [
        next((known.index(_plain(name)) for name in wanted if _plain(name) in known), None)
        for wanted in _NAMES
    ]
    query, doc, grade = found
    return None if query is None or doc is None or grade is None else (query, doc, grade)


def header_of(line: str) -> Header | None:
    """A line that names all three columns; None: it holds a judgement."""
    by_comma = tuple(name.strip() for name in next(csv.reader([line])))
    for names, comma in ((by_comma, True), (tuple(line.split()), False)):
        places = places_of(names)
        if places is not None:
            return Header(names=names, places=places, comma=comma)
    return None


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")
