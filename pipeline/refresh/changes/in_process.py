"""Changes that are made in this process: where there is little to do, or without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pipeline.refresh.changes.part_files import Record
from pipeline.refresh.changes.work import RunFile, Work, dealt_out, write_bucket


class InProcess:
    """One bucket after the other, so that no more than one is in memory."""

    def records(self, work: Work, todo: Sequence[int]) -> Iterator[Record]:
        """Parts in order; all files are read for each."""
        for number in todo:
            tables = [dealt_out(file, work, [number]) for file in work.files]
            rows = pa.concat_tables([work.moving.empty_table(), *tables])
            yield write_bucket(number, rows, work)

    def rows(
        self, files: Sequence[RunFile], pick: Callable[[RunFile], pa.Table]
    ) -> Iterator[pa.Table]:
        """What a function picks from each file, in order."""
        yield from map(pick, files)
