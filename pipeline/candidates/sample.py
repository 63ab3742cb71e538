"""A few candidate lists from all over an input, to judge what the whole of it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.candidates.unchanged import read_unchanged

#: Row groups that are looked into, evenly over the input: files are often sorted by something.
_SPOTS: Final = 4

#: Documents that are asked for at each; whole lists are read, so there may be more.
_DOCUMENTS: Final = 128

#: Characters of a text that are kept: more than the models of this package read in one piece, and
#: few enough that a book among the documents costs the plan nothing.
_CHARACTERS: Final = 65_536


def sample_lists(source: Input, *, separator: str) -> list[CandidateLists]:
    """Whole candidate lists from the beginnings of up to four row groups; the same every time.

    Args:
        source: the opened input.
        separator: joins several text columns.

    Returns:
        What was found at each place, long texts cut; places without documents are left out.

    Raises:
        InputContractError: what :func:`~pipeline.candidates.reading.read_lists` refuses.
    """
    starts = [
        (start, -(-_DOCUMENTS * count // documents))
        for file in source.files
        for start, count, documents in _row_groups(file.first, file.row_groups, file.documents)
        if documents
    ]
    chosen = sorted({len(starts) * spot // _SPOTS for spot in range(_SPOTS)}) if starts else []

    def read(opened: Input) -> list[CandidateLists]:
        return [
            read_lists(opened, start, min(opened.rows, start + rows), separator=separator)
            for start, rows in (starts[place] for place in chosen)
        ]

    found = read_unchanged(source, read)
    return [_with_short_texts(lists) for lists in found if lists.documents.num_rows]


def _row_groups(
    first: int, rows: tuple[int, ...], documents: tuple[int, ...]
) -> list[tuple[int, int, int]]:
    """First global row, rows and documents of each row group."""
    found = []
    for count, size in zip(rows, documents, strict=True):
        found.append((first, count, size))
        first += count
    return found


def _with_short_texts(lists: CandidateLists) -> CandidateLists:
    return replace(
        lists,
        queries=_short(lists.queries, schema.QUERY),
        documents=_short(lists.documents, schema.TEXT),
    )


def _short(table: pa.Table, column: str) -> pa.Table:
    values = pc.utf8_slice_codeunits(table.column(column), 0, _CHARACTERS)
    return table.set_column(table.column_names.index(column), column, values)
