"""The order of candidates in a part: whole queries by their first candidate, then as given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates import reasons
from pipeline.staging.lookup import PLACES, key_hashes, key_text

Ints = npt.NDArray[np.int64]


def cluster(rows: pa.Table) -> tuple[Ints, Ints]:
    """How candidates [N] stand in a staged copy.

    Queries come in the order in which their first candidates were given, and candidates without a
    query id at the end, so that they come between the candidates of no query. Of a query without
    candidates one row stays that says so, and none where it has some elsewhere.

    Args:
        rows: [N], in any order; the columns of :data:`PLACES` say which was given.

    Returns:
        int64 [M], rows that stay in their new order, and int64 [Q + 1], where queries begin in it.
    """
    places = [rows.column(name).to_numpy() for name in reversed(PLACES)]
    given = np.lexsort(places) if rows.num_rows else np.zeros(0, dtype=np.int64)
    keys = key_text(rows.column(schema.QUERY_ID)).take(pa.array(given))
    encoded = pc.dictionary_encode(keys)  # codes by first appearance
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary))
    numbers = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    order = order[_stays(numbers[order], _bare(rows)[given][order])]
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    return given[order], np.append(starts, len(order))


def _bare(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """bool [N]: the row stands for a query without candidates."""
    if schema.REASON not in rows.column_names:
        return np.zeros(rows.num_rows, dtype=bool)
    bare = pc.fill_null(pc.equal(rows.column(schema.REASON), reasons.NO_CANDIDATES), False)
    return np.asarray(bare.to_numpy(), dtype=bool)


def _stays(queries: Ints, bare: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """bool [N] of rows whose queries [N] stand together."""
    if not bare.any():
        return np.ones(len(queries), dtype=bool)
    firsts = np.diff(queries, prepend=-1) != 0
    lists = np.cumsum(firsts) - 1
    filled = np.bincount(lists, weights=~bare) > 0
    return np.asarray(~bare | (firsts & ~filled[lists]), dtype=bool)


def cut(starts: Ints, sizes: npt.NDArray[Any], target: float) -> list[tuple[int, int]]:
    """Whole queries as ranges of candidates of about ``target`` bytes.

    Args:
        starts: int64 [Q + 1], where queries begin.
        sizes: [N], bytes of each candidate.
        target: of a range; a query that is larger is one of its own.
    """
    total = np.append(0, np.cumsum(sizes))
    ranges: list[tuple[int, int]] = []
    begin = None
    for lower, upper in pairwise(starts.tolist()):
        if begin is None:
            begin = lower
        elif total[upper] - total[begin] > target:
            ranges.append((begin, lower))
            begin = lower
    if begin is not None:
        ranges.append((begin, int(starts[-1])))
    return ranges


def part_of(query_ids: pa.Array | pa.ChunkedArray, parts: int) -> Ints:
    """int64 [N]: the part that a scattered candidate belongs to, by its query."""
    hashes = key_hashes(key_text(query_ids))
    return np.asarray(hashes % np.uint64(parts), dtype=np.int64)
