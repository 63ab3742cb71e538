"""The candidates of an input that is converted before it is read: text formats, ids alone.

All of them are read once where they are not too many: their order, how many each query has, which
documents they refer to, and a sample of rows with everything that the file says of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.grouping import run_starts
from pipeline.candidates.id_runs import RunCheck, Runs
from pipeline.candidates.order import Checked, Example, Kind, Order, Place
from pipeline.errors import InputContractError
from pipeline.hashes import Hashes, stable_hashes
from pipeline.sources.source import Shard, Source, read_shard
from pipeline.sources.tables import FILE, ROW

#: Bytes of a shard, decoded, and of what is read at most; past that, shards from all over.
_SHARD: Final = 32 << 20
MOST_BYTES: Final = 2 << 30

#: Places that a sample of rows is from.
_SPOTS: Final = 16


@dataclass(kw_only=True)
class Candidates:
    """What the candidates say.

    Attributes:
        rows: that were read.
        whole: whether those are all.
        order: of them.
        runs: where queries begin, by numbers of rows that were read.
        documents: hashes of the ids that they refer to, one for each row that has one.
        queries: hashes of the ids of queries, one for each run.
        sample: rows as they were read.
        sample_whole: whether the sample is all rows.
        damage: what a run would stop at; the rows before it count, and those of other shards.
    """

    rows: int = 0
    whole: bool = True
    order: Order = field(default_factory=lambda: Order(kind="sorted", checked="all"))
    runs: list[Runs] = field(default_factory=list)
    documents: list[Hashes] = field(default_factory=list)
    queries: list[Hashes] = field(default_factory=list)
    sample: list[pa.Table] = field(default_factory=list)
    sample_whole: bool = True
    damage: list[str] = field(default_factory=list)


def shards_to_read(source: Source) -> tuple[list[Shard], bool]:
    """Shards of a source, and whether they are all of it: some from all over where it is large."""
    shards = source.shards(_SHARD)
    if source.size_bytes <= MOST_BYTES:
        return shards, True
    step = -(-source.size_bytes // MOST_BYTES)
    return shards[::step], False


def readable(
    source: Source, shard: Shard, damage: list[str], *, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a shard up to where a run would stop.

    Args:
        source: what the shard is of.
        shard: of it.
        damage: takes what a run would say there, each sentence once.
        columns: our names to read; None: all.
    """
    try:
        yield from read_shard(source, shard, columns=columns)
    except InputContractError as error:
        if str(error) not in damage:
            damage.append(str(error))


def read_candidates(source: Source, *, sample: int) -> Candidates:
    """Read them.

    Args:
        source: of the candidates.
        sample: rows that are kept.
    """
    shards, whole = shards_to_read(source)
    found = Candidates(whole=whole)
    check = RunCheck(nested=False)
    every = max(1, len(shards) // _SPOTS)
    spots: list[pa.Table] = []
    example: Example | None = None
    for number, shard in enumerate(shards):
        begun = False
        for table in readable(source, shard, found.damage):
            runs = _runs(table, found.rows)
            for query_id, row in check.add(runs):
                if example is None:
                    example = _example(source, shards, query_id, table, row - found.rows, row)
            found.runs.append(runs)
            found.queries.append(_hashed(runs.ids))
            found.documents.append(_hashed(table.column(schema.DOC_ID)))
            found.rows += table.num_rows
            if number % every == 0 and not begun:
                spots.append(table.slice(0, -(-sample // _SPOTS)))
                begun = True
            if found.sample_whole:
                found.sample.append(table)
                if found.rows > sample:
                    found.sample, found.sample_whole = [], False
    found.whole = whole = whole and not found.damage
    found.sample_whole = found.sample_whole and whole
    if found.rows > sample:
        # Of one shard alone the first rows are all that is kept.
        found.sample = spots
    checked: Checked = "all" if whole else "sample"
    kind: Kind = "sorted" if check.ascending else "grouped"
    found.order = (
        Order(kind="scattered", checked=checked, example=example)
        if example is not None
        else Order(kind=kind, checked=checked, queries=check.queries if whole else None)
    )
    return found


def key_text(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Ids as the text by which candidates, documents and queries meet."""
    found = ids.cast(pa.string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _runs(table: pa.Table, before: int) -> Runs:
    ids = table.column(schema.QUERY_ID).combine_chunks()
    starts = run_starts(ids)
    return Runs(ids=ids.take(pa.array(starts)), starts=starts + before)


def hashes_of(ids: pa.Array) -> Hashes:
    """uint64 [N], for each id that is not null."""
    encoded = ids.drop_null().dictionary_encode()
    places: npt.NDArray[np.int64] = np.asarray(encoded.indices)
    return stable_hashes(encoded.dictionary.to_pylist())[places]


def _hashed(ids: pa.Array | pa.ChunkedArray) -> Hashes:
    return hashes_of(key_text(ids))


def _example(
    source: Source, shards: list[Shard], query_id: int | str, table: pa.Table, place: int, row: int
) -> Example | None:
    """The two places of a query that comes again; None where only its hash did."""
    done = 0
    for shard in shards:
        for other in readable(source, shard, []):
            ids = other.column(schema.QUERY_ID)
            found = pc.index(ids, pa.scalar(query_id, ids.type)).as_py()
            if found >= 0 and done + found < row:
                return Example(
                    query_id=query_id,
                    first=_place(source, other, found),
                    second=_place(source, table, place),
                )
            done += other.num_rows
            if done > row:
                return None
    return None


def _place(source: Source, table: pa.Table, row: int) -> Place:
    file = source.files[table.column(FILE)[row].as_py()]
    return Place(path=file.path, row=table.column(ROW)[row].as_py())
