"""Lines cut into fields where separators stand: TSV without quotes, and the fields of TREC runs.

Nothing is interpreted: a quote is a character. All lines of a block are cut at once, by the places
of their separators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.sources.raw_rows import Ints, RawRows

_NEWLINE: Final = 10
_TAB: Final = 9
_RETURN: Final = 13

#: What C's isspace takes for white space, beside the end of a line.
_BLANKS: Final = (9, 11, 12, 13, 32)

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Cut:
    """Fields of a block.

    Attributes:
        kept: bool [B], bytes that are part of a field.
        lengths: int64 [F], bytes of each field.
        counts: int64 [L], fields of each line; 0: the line is blank.
    """

    kept: Bools
    lengths: Ints
    counts: Ints


def split_block(
    data: bytes, offset: int, names: tuple[str, ...], *, tabs: bool, expected: str
) -> RawRows:
    """The rows of a block of lines, all fields as bytes; blank lines are none.

    Args:
        data: whole lines.
        offset: where they begin in the file.
        names: of the fields that every line has.
        tabs: whether one tab separates fields, which may then be empty; else any white space.
        expected: what a line should be, for what is said of one that is not.
    """
    values = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(values == _NEWLINE)
    if len(values) and values[-1] != _NEWLINE:
        ends = np.append(ends, len(values))
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    cut = _by_tabs(values, starts, ends) if tabs else _by_blanks(values, starts)
    good = cut.counts == len(names)
    filled = np.flatnonzero(cut.counts > 0)
    kept = cut.kept
    if not good[filled].all():
        kept = kept & np.repeat(good, np.minimum(ends + 1, len(values)) - starts)
    lengths = cut.lengths[np.repeat(good, cut.counts)]
    bounds = np.append(0, np.cumsum(lengths)).astype(np.int32)
    flat = pa.Array.from_buffers(
        pa.binary(), len(bounds) - 1,
        [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(values[kept]))],
    )  # fmt: skip
    # Lines of another number of fields get nulls: the place of each line among the good ones.
    place = pa.array(np.cumsum(good)[filled] - 1, mask=~good[filled])
    columns = {}
    for number, name in enumerate(names):
        own = flat.take(pa.array(np.arange(number, len(flat), len(names))))
        columns[name] = own if good[filled].all() else own.take(place)
    found = cut.counts[filled]
    return RawRows(
        columns=columns,
        rows=offset + starts[filled],
        items=np.zeros(len(filled), dtype=np.int64),
        faults={
            int(line): f"{found[line]} field(s), expected {expected}"
            for line in np.flatnonzero(~good[filled])
        },
    )


def _by_tabs(values: npt.NDArray[np.uint8], starts: Ints, ends: Ints) -> _Cut:
    separator = values == _TAB
    kept = ~(separator | (values == _NEWLINE))
    last = ends - 1
    returned = (last >= starts) & (values[np.maximum(last, 0)] == _RETURN)
    kept[last[returned]] = False
    stops = ends - returned
    tabs = np.flatnonzero(separator)
    counts = np.searchsorted(tabs, ends) - np.searchsorted(tabs, starts) + 1
    filled = stops > starts
    counts[~filled] = 0
    begins = np.sort(np.concatenate([starts[filled], tabs + 1]))
    field_ends = np.sort(np.concatenate([stops[filled], tabs]))
    return _Cut(kept=kept, lengths=field_ends - begins, counts=counts)


def _by_blanks(values: npt.NDArray[np.uint8], starts: Ints) -> _Cut:
    blank = np.zeros(256, dtype=bool)
    blank[[*_BLANKS, _NEWLINE]] = True
    kept = ~blank[values]
    begins = np.flatnonzero(kept & ~np.append(False, kept[:-1])[: len(kept)])
    field_ends = np.flatnonzero(kept & ~np.append(kept[1:], False)[: len(kept)]) + 1
    counts = np.diff(np.append(np.searchsorted(begins, starts), len(begins)))
    return _Cut(kept=kept, lengths=field_ends - begins, counts=counts)
