"""Some queries of an input, drawn by their ids: the same ones however the input is laid out."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline.candidates.id_runs import runs_of
from pipeline.candidates.inputs import Input, InputFile
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import lists_of, split_query_error
from pipeline.hashes import stable_hashes


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The rows of one query, ``[start, stop)`` of the whole input."""

    query_id: str
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Picks:
    """Queries that were drawn.

    Attributes:
        picks: in the order of their rows.
        queries: distinct runs of a query id that were looked at; rows without an id are none.
        wanted: how many of these could have been drawn.
    """

    picks: tuple[Pick, ...]
    queries: int
    wanted: int


def pick_queries(
    source: Input,
    count: int,
    *,
    seed: int,
    limit: int | None = None,
    wanted: Callable[[str], bool] = lambda _: True,
) -> Picks:
    """Draw queries at random without replacement; reads query ids alone, and keeps ``count``.

    Those with the least hashes are drawn, of seed and id, so the same queries come out of an input
    however it is sorted, cut into files or laid out, and a larger sample holds the smaller one.

    Args:
        source: the opened input, the rows of each query together.
        count: how many; fewer where there are no more.
        seed: another one draws others.
        limit: only the first so many queries of the input can be drawn; None: all.
        wanted: whether a query can be drawn, by its id as text.

    Raises:
        InputContractError: a file cannot be read, an id is of no use, or the rows of a query that
            was drawn stand apart.
    """
    seen = able = 0
    least: list[tuple[int, Pick]] = []
    for found in _queries(source, limit):
        seen += len(found)
        fitting = [pick for pick in found if wanted(pick.query_id)]
        able += len(fitting)
        hashes = stable_hashes((pick.query_id for pick in fitting), salt=str(seed)).tolist()
        both = [*least, *zip(hashes, fitting, strict=True)]
        least = heapq.nsmallest(count, both, key=lambda drawn: (drawn[0], drawn[1].query_id))
    drawn = sorted((pick for _, pick in least), key=lambda pick: pick.start)
    for query_id, times in Counter(pick.query_id for pick in drawn).items():
        if times > 1:
            raise split_query_error(query_id, ", ".join(f.identity.path for f in source.files))
    return Picks(picks=tuple(drawn), queries=seen, wanted=able)


def read_picks(source: Input, picks: Sequence[Pick], *, separator: str) -> CandidateLists:
    """The candidate lists of picked queries, in their order; a row group is decoded once.

    Args:
        source: the input that they were drawn from.
        picks: at least one, as :func:`pick_queries` gives them.
        separator: joins several text columns.

    Raises:
        InputContractError: a value does not fit its column, a file is damaged, or has changed.
    """
    return lists_of(source, _rows_of(source, picks), separator=separator)


def _queries(source: Input, limit: int | None) -> Iterator[list[Pick]]:
    """The queries of the input in order, some at a time."""
    nested = source.columns.layout == "nested"
    left = source.rows if limit is None else limit
    last: tuple[str, int] | None = None  # id and first row of the run that is being read
    for runs in runs_of(source, 0, source.rows, nested=nested):
        found: list[Pick] = []
        for value, start in zip(runs.ids.to_pylist(), runs.starts.tolist(), strict=True):
            query_id = None if value is None else str(value)
            if last is not None and last[0] == query_id and not nested:
                continue  # it went on in this piece
            if last is not None:
                found.append(Pick(query_id=last[0], start=last[1], stop=start))
            last = None if query_id is None else (query_id, start)
        yield found[:left]
        left -= len(found)
        if left <= 0:
            return
    if last is not None:
        yield [Pick(query_id=last[0], start=last[1], stop=source.rows)]


def _rows_of(
    source: Input, picks: Sequence[Pick]
) -> Iterator[tuple[InputFile, int, pa.RecordBatch]]:
    """The picked rows as copies, which do not keep the row group that they are from in memory."""
    starts = np.array([pick.start for pick in picks])
    stops = np.array([pick.stop for pick in picks])
    groups = [rows for file in source.files for rows in file.row_groups if rows]
    for lower, upper in pairwise(np.append(0, np.cumsum(groups)).tolist()):
        inside = np.flatnonzero((starts < upper) & (stops > lower))
        if not len(inside):
            continue
        at = max(lower, int(starts[inside[0]]))
        for file, row, batch in source.batches(at, min(upper, int(stops[inside[-1]]))):
            here = np.arange(at, at + batch.num_rows)
            place = np.searchsorted(starts, here, side="right") - 1
            kept = np.flatnonzero((place >= 0) & (here < stops[np.maximum(place, 0)]))
            for rows in np.split(kept, np.flatnonzero(np.diff(kept) != 1) + 1):
                if len(rows):
                    yield file, row + int(rows[0]), batch.take(pa.array(rows))
            at += batch.num_rows
