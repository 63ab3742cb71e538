"""A reuse table that is made in this process: where there is little to do, or without Ray."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.hashes import Hashes
from pipeline.refresh.reuse.matching import make_part
from pipeline.refresh.reuse.routing import Routes, queries_of, routed
from pipeline.refresh.reuse.work import PART, ROUTED, Record, Work


class InProcess:
    """One part after the other, with all ids, keys and scores of yesterday in memory."""

    def queries(self, work: Work) -> Iterator[Hashes]:
        """Hashes of the queries of each part, in order."""
        for part in work.parts:
            yield queries_of(work.source, part.start, part.stop)

    def records(self, work: Work, routes: Routes, todo: list[int]) -> Iterator[Record]:
        """Parts in order."""
        empty = ROUTED.empty_table()
        before: dict[int, list[pa.Table]] = {number: [empty] for number in todo}
        for number in range(len(work.old)):
            for rows in routed(number, work, routes, todo):
                for part, own in by_part(rows):
                    before[part].append(own)
        for number in todo:
            yield make_part(number, pa.concat_tables(before.pop(number)), work)


def by_part(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each part that there are some of."""
    numbers = rows.column(PART)
    for number in sorted(numbers.unique().to_pylist()):
        yield number, rows.filter(pc.equal(numbers, number))
