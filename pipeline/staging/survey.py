"""What the query ids of a candidate list say: how many rows, and whether queries are scattered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.hashes import Hashes, HashSet
from pipeline.sources.source import Shard, Source, read_shard
from pipeline.staging.lookup import key_hashes, key_text


@dataclass(frozen=True, kw_only=True)
class ShardRuns:
    """The runs of equal query ids in a shard; rows without an id belong to the run before them.

    Attributes:
        rows: of the shard.
        hashes: uint64 [runs], of their ids.
        second: row at which the second run begins; ``rows`` where there is none.
    """

    rows: int
    hashes: Hashes
    second: int


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What all shards say.

    Attributes:
        rows: of each shard.
        leading: rows at the beginning of each shard that belong to queries of shards before it.
        repeated: hash of a query that stands in two places; None: there is none.
    """

    rows: tuple[int, ...]
    leading: tuple[int, ...]
    repeated: int | None


@dataclass(frozen=True, kw_only=True)
class Range:
    """Whole queries: from row ``skip`` of a shard to row ``take`` of another."""

    first: int
    skip: int
    last: int
    take: int


def survey_shard(source: Source, shard: Shard) -> ShardRuns:
    """Read the query ids of a shard."""
    return runs_of(read_shard(source, shard, columns=[schema.QUERY_ID]))


def runs_of(tables: Iterable[pa.Table]) -> ShardRuns:
    """The runs of query ids in tables that follow each other."""
    rows, second, last = 0, -1, None
    found: list[Hashes] = []
    for table in tables:
        keys = key_text(table.column(schema.QUERY_ID))
        valid = pc.is_valid(keys).to_numpy(zero_copy_only=False)
        places, known = np.flatnonzero(valid), keys.filter(pa.array(valid))
        if len(known):
            codes = pc.dictionary_encode(known).indices.to_numpy(zero_copy_only=False)
            begins = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
            if known[0].as_py() == last:
                begins = begins[1:]
            following = begins[1:] if last is None else begins
            if second < 0 and len(following):
                second = rows + int(places[following[0]])
            found.append(key_hashes(known.take(pa.array(begins))))
            last = known[len(known) - 1].as_py()
        rows += table.num_rows
    hashes = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
    return ShardRuns(rows=rows, hashes=hashes, second=rows if second < 0 else second)


def surveyed(shards: Iterable[ShardRuns]) -> Survey:
    """Shards in order, taken together."""
    seen = HashSet()
    last: int | None = None
    repeated: int | None = None
    rows, leading = [], []
    for shard in shards:
        hashes, lead = shard.hashes, 0
        rows.append(shard.rows)
        if len(hashes) == 0:
            lead = shard.rows if last is not None else 0
        elif last is not None and int(hashes[0]) == last:
            lead, hashes = shard.second, hashes[1:]
        leading.append(lead)
        if len(hashes):
            new = seen.add(hashes)
            if repeated is None and not new.all():
                repeated = int(hashes[np.flatnonzero(~new)[0]])
            last = int(hashes[-1])
    return Survey(rows=tuple(rows), leading=tuple(leading), repeated=repeated)


def ranges_of(survey: Survey, row_bytes: float, target: int) -> list[Range]:
    """Parts of about ``target`` bytes, cut where a query ends; a larger query is one of its own.

    Args:
        survey: of all shards.
        row_bytes: what a candidate becomes, on average.
        target: bytes of a part.
    """
    found: list[Range] = []
    count = len(survey.rows)
    starts = [0] + [i for i in range(1, count) if survey.leading[i] < survey.rows[i]]
    total = np.append(0, np.cumsum(survey.rows))
    begin = 0
    for start in starts[1:]:
        rows = int(total[start] - total[begin])
        if rows * row_bytes >= target:
            found.append(_range(survey, begin, start))
            begin = start
    found.append(_range(survey, begin, count))
    return found


def _range(survey: Survey, begin: int, stop: int) -> Range:
    take = survey.leading[stop] if stop < len(survey.rows) else 0
    return Range(first=begin, skip=survey.leading[begin] if begin else 0, last=stop, take=take)


def rows_of(source: Source, shards: Sequence[Shard], part: Range) -> Iterator[pa.Table]:
    """The candidates of a range, in order."""
    for number in range(part.first, part.last):
        skip = part.skip if number == part.first else 0
        for table in read_shard(source, shards[number]):
            left = table.slice(min(skip, table.num_rows))
            skip -= table.num_rows - left.num_rows
            if left.num_rows:
                yield left
    take = part.take
    if take:
        for table in read_shard(source, shards[part.last]):
            yield table.slice(0, take)
            take -= min(take, table.num_rows)
            if not take:
                return


def query_with_hash(tables: Iterable[pa.Table], wanted: int) -> str:
    """The id among those of some tables whose hash is known."""
    for table in tables:
        keys = key_text(table.column(schema.QUERY_ID)).drop_null()
        found = np.flatnonzero(key_hashes(keys) == np.uint64(wanted))
        if len(found):
            return str(keys[int(found[0])].as_py())
    raise LookupError(wanted)


def query_ids(source: Source, shards: Iterable[Shard]) -> Iterator[pa.Table]:
    """The query ids of a source, in order."""
    for shard in shards:
        yield from read_shard(source, shard, columns=[schema.QUERY_ID])
