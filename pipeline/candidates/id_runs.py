"""Runs of equal query ids: where they begin, whether they ascend, and which of them come twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.grouping import run_starts
from pipeline.candidates.inputs import Input
from pipeline.candidates.reading import query_ids
from pipeline.hashes import HashSet, stable_hashes

#: Rows whose ids are held at once.
PIECE_ROWS: Final = 2**18


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of some rows, null ids among them.

    Attributes:
        ids: [R], the id of each.
        starts: int64 [R], global number of its first row.
    """

    ids: pa.Array
    starts: npt.NDArray[np.int64]

    def place_of(self, query_id: int | str) -> int | None:
        """The first row that has an id."""
        found = pc.index(self.ids, pa.scalar(query_id, self.ids.type)).as_py()
        return None if found < 0 else int(self.starts[found])


def runs_of(source: Input, start: int, stop: int, *, nested: bool) -> Iterator[Runs]:
    """The runs of rows ``[start, stop)``, a bounded number of rows at a time.

    A run that goes on in the next piece stands there again. In the nested layout each row is one.

    Raises:
        InputContractError: a file cannot be read, or an id is of no use.
    """
    parts: list[pa.Array] = []
    held = 0
    for file, row, batch in source.batches(start, stop, only=(schema.QUERY_ID,)):
        parts.append(query_ids(source, file, row, batch))
        held += batch.num_rows
        if held >= PIECE_ROWS:
            yield _runs(pa.concat_arrays(parts), start, nested=nested)
            start, held, parts = start + held, 0, []
    if parts:
        yield _runs(pa.concat_arrays(parts), start, nested=nested)


def _runs(ids: pa.Array, start: int, *, nested: bool) -> Runs:
    if nested:
        return Runs(ids=ids, starts=np.arange(start, start + len(ids)))
    begin = run_starts(ids)
    return Runs(ids=ids.take(pa.array(begin)), starts=begin + start)


class RunCheck:
    """What is known after runs that are given piece by piece, in order.

    Attributes:
        ascending: whether each id was larger than the one before.
        queries: distinct ids so far; a hash of 8 bytes is kept of each.
    """

    def __init__(self, *, nested: bool) -> None:
        self.ascending = True
        self.queries = 0
        self._nested = nested
        self._seen = HashSet()
        self._last: int | str | None = None
        self._highest: int | str | None = None

    def add(self, runs: Runs) -> Iterator[tuple[int | str, int]]:
        """Take the next runs.

        Yields:
            Id and row of each run whose id has, by its hash, stood before.
        """
        values = runs.ids.to_pylist()
        kept = [
            place
            for place, value in enumerate(values)
            if value is not None
            and (self._nested or value != (values[place - 1] if place else self._last))
        ]
        if values:
            self._last = values[-1]
        named = [values[place] for place in kept]
        self._note_ascent(named)
        new = self._seen.add(stable_hashes(str(value) for value in named))
        self.queries += int(new.sum())
        for place in np.flatnonzero(~new).tolist():
            yield named[place], int(runs.starts[kept[place]])

    def _note_ascent(self, named: list[int | str]) -> None:
        for value in named if self.ascending else ():
            if self._highest is not None and not self._highest < value:  # type: ignore[operator]
                self.ascending = False
                return
            self._highest = value
