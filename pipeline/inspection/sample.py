"""Candidate lists from all over an input, read as a run reads them, refusals kept aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import gathered_lists, read_lists
from pipeline.errors import InputContractError
from pipeline.inspection.files import Refusal, row_groups

#: Places that a sample is from, evenly over the input: files are often sorted by something.
_SPOTS: Final = 16

#: Stored bytes that are read for a sample at most, where candidates carry images or books.
_MOST_BYTES: Final = 256 * 2**20

#: Rows that are read at once where everything is.
_PIECE: Final = 4_096


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was read.

    Attributes:
        lists: candidate lists with a reason where a candidate would not be scored.
        whole: whether that is the whole input.
        partial: whether lists may be parts of what the input has of a query.
        refusals: what a run would stop at in these rows.
    """

    lists: tuple[CandidateLists, ...]
    whole: bool
    partial: bool
    refusals: tuple[Refusal, ...]

    @property
    def candidates(self) -> int:
        """Candidates of all lists."""
        return sum(lists.documents.num_rows for lists in self.lists)

    @property
    def queries(self) -> int:
        """Lists, those without candidates among them."""
        return sum(len(lists) for lists in self.lists)


def take_sample(source: Input, *, documents: int, separator: str, scattered: bool) -> Sample:
    """Read about so many candidates, or all where there are no more.

    Args:
        source: the opened input.
        documents: candidates that are asked for; whole lists are read, so there may be more.
        separator: joins several text columns.
        scattered: whether rows of a query may stand apart.
    """
    total = source.documents
    stored = sum(file.identity.size for file in source.files)
    fitting = max(100, int(_MOST_BYTES / max(1.0, stored / max(total, 1))))
    wanted = min(documents, fitting)
    whole = total <= wanted
    ranges = _all_ranges(source.rows, scattered) if whole else _spots(source, wanted)
    read: Callable[..., CandidateLists] = gathered_lists if scattered else read_lists
    found, refusals = [], []
    for start, stop in ranges:
        try:
            found.append(read(source, start, stop, separator=separator))
        except InputContractError as error:
            refusals.append(Refusal(path=_path(source, start), message=str(error)))
    return Sample(
        lists=tuple(found),
        whole=whole and not refusals,
        partial=scattered and not whole,
        refusals=tuple(refusals),
    )


def _all_ranges(rows: int, scattered: bool) -> list[tuple[int, int]]:
    step = max(rows, 1) if scattered else _PIECE
    return [(start, min(rows, start + step)) for start in range(0, rows, step)]


def _spots(source: Input, documents: int) -> list[tuple[int, int]]:
    """Row ranges from all over the input, at the beginnings of row groups where there are many."""
    groups = [group for group in row_groups(source) if group[2]]
    held = sum(group[2] for group in groups)
    count = max(1, round(documents / _SPOTS * source.rows / held))
    if len(groups) >= _SPOTS:
        starts = [groups[len(groups) * spot // _SPOTS][0] for spot in range(_SPOTS)]
    else:
        starts = [source.rows * spot // _SPOTS for spot in range(_SPOTS)]
    found: list[tuple[int, int]] = []
    for start in starts:
        after = found[-1][1] if found else 0
        stop = min(source.rows, max(start, after) + count)
        if max(start, after) < stop:
            found.append((max(start, after), stop))
    return found


def _path(source: Input, row: int) -> str:
    [(file, _, _)] = source.pieces(row, row + 1)
    return file.identity.path
