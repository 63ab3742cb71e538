"""What a process does with two runs: reads a file against its digest, compares a bucket, writes it.

Rows are dealt out to buckets by a hash of their query's id, so that a bucket holds all of a query.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.execution.runs.run_files import read_listed
from pipeline.refresh.changes.comparing import compare
from pipeline.refresh.changes.layout import Layout
from pipeline.refresh.changes.part_files import Record, write_part
from pipeline.staging.clustering import part_of
from pipeline.staging.part_file import conformed

SideName = Literal["before", "after"]

#: Columns of rows on their way: the bucket that they belong to, and whether they are of today.
BUCKET: Final = "_bucket"
_TODAY: Final = "_today"


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """A ranked file of a published run.

    Attributes:
        side: of which of the two runs.
        path: where it lies.
        sha256: what the run's manifest says of it.
    """

    side: SideName
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """Changes that are being made; travels to every worker.

    Attributes:
        path: their folder.
        files: of both runs.
        layout: what is compared.
        buckets: how many, which is also the number of parts.
        sources: which two runs, to the byte; stands in the record of each part.
    """

    path: str
    files: tuple[RunFile, ...]
    layout: Layout
    buckets: int
    sources: str

    def columns(self, side: SideName) -> list[str]:
        """What is read of the files of a side; of the run before only what is compared."""
        own = [schema.QUERY_ID, schema.DOC_ID, schema.RANK, schema.SCORE, schema.REASON]
        if side == "after":
            return own + [field.name for field in self.layout.carried]
        return own if self.layout.reshaped else own + list(self.layout.compared)

    @property
    def moving(self) -> pa.Schema:
        """Columns of rows on their way to their bucket."""
        names = {schema.RANK, schema.SCORE, schema.REASON}
        names |= {field.name for field in self.layout.carried}
        values = [field for field in self.layout.rows if field.name in names]
        ids = [
            pa.field(schema.QUERY_ID, self.layout.query_id),
            pa.field(schema.DOC_ID, self.layout.doc_id),
        ]
        return pa.schema(
            [*ids, *values, pa.field(BUCKET, pa.int64()), pa.field(_TODAY, pa.bool_())]
        )


def dealt_out(file: RunFile, work: Work, wanted: Collection[int]) -> pa.Table:
    """Rows of a file with their bucket; those of other buckets than ``wanted`` are left out.

    Raises:
        DamagedRunError: the file is gone, or its content is another than its run's manifest says.
    """
    rows = read_listed(file.path, file.sha256, work.columns(file.side)).replace_schema_metadata()
    buckets = part_of(rows.column(schema.QUERY_ID), work.buckets)
    today = np.full(len(buckets), file.side == "after")
    rows = rows.append_column(BUCKET, pa.array(buckets)).append_column(_TODAY, pa.array(today))
    if len(wanted) < work.buckets:
        rows = rows.filter(pa.array(np.isin(buckets, list(wanted))))
    return conformed(rows, work.moving)


def write_bucket(number: int, rows: pa.Table, work: Work) -> Record:
    """Compare all rows of a bucket, and write its part."""
    today = rows.column(_TODAY)
    before = rows.filter(pc.invert(today)).select(work.columns("before"))
    after = rows.filter(today).select(work.columns("after"))
    found = compare(before, after, work.layout)
    return write_part(
        work.path, number, found.rows, found.lists, found.statistics.to_json(), work.sources
    )


def write_buckets(rows: pa.Table, work: Work) -> Iterator[Record]:
    """Write every bucket that has rows in a table, which holds all of each."""
    for number in sorted(pc.unique(rows.column(BUCKET)).to_pylist()):
        of_bucket = rows.filter(pc.equal(rows.column(BUCKET), number))
        yield write_bucket(number, of_bucket, work)
