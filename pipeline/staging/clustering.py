"""The order of candidates in a part: whole queries by their first candidate, then as given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.staging.lookup import PLACES, key_hashes, key_text

Ints = npt.NDArray[np.int64]


def cluster(rows: pa.Table) -> tuple[Ints, Ints]:
    """How candidates [N] stand in a staged copy.

    Queries come in the order in which their first candidates were given, and candidates without a
    query id at the end, so that they come between the candidates of no query.

    Args:
        rows: in any order; the columns of :data:`PLACES` say which was given.

    Returns:
        int64 [N], rows in their new order, and int64 [Q + 1], where queries begin in it.
    """
    places = [rows.column(name).to_numpy() for name in reversed(PLACES)]
    given = np.lexsort(places) if rows.num_rows else np.zeros(0, dtype=np.int64)
    keys = key_text(rows.column(schema.QUERY_ID)).take(pa.array(given))
    encoded = pc.dictionary_encode(keys)  # codes by first appearance
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary))
    numbers = codes.to_numpy(zero_copy_only=False).astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    return given[order], np.append(starts, rows.num_rows)


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
