"""The input of a run in a bench: the workload's lists, as often as the run is to be long.

A copy gives every list of candidates the query of another list, so no pair of a query and a
document comes twice in a run, which would score it once, and lengths keep their distribution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import schema
from pipeline.bench.inputs.workloads import Work
from pipeline.bench.options import UNIT_DOCUMENTS, BenchOptions
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import ConfigurationError

#: Units that a run is cut into at least, where the lists allow: a pace needs some.
_UNITS_OF_RUN: Final = 12

#: Documents of a row group where the run decides how large units are: finer than any of them.
_GROUP_DOCUMENTS: Final = 1_000


def copies_of(options: BenchOptions, work: Work) -> int:
    """How often the run of ``--end-to-end`` reads the workload.

    Raises:
        ConfigurationError: the run would be a single list, which has no time between a first and a
            last file; or pairs would come twice.
    """
    copies = -(-(options.run_documents or 1) // work.documents)
    lists = len(work.lists)
    if lists < 2:
        raise ConfigurationError(
            f"--end-to-end: {options.workload} of size {options.size} is a single unit, and a pace "
            "needs two or more; take a larger --size"
        )
    if copies > lists:
        raise ConfigurationError(
            f"--run-documents: {options.workload} of size {options.size} gives {lists} copies of "
            f"{work.documents:,} documents before a pair of a query and a document comes again; "
            f"ask for {lists * work.documents:,} or fewer, or take a larger --size"
        )
    return copies


def unit_documents(options: BenchOptions, documents: int) -> int | None:
    """Documents of a unit of the run; None where the run decides.

    On CPU, and where ``--unit-documents`` says so, a run of ``documents`` is cut into at least
    twelve units. On a GPU how a run cuts its input is a part of what is measured.
    """
    if options.unit_documents is None and options.device == "cuda":
        return None
    asked = options.unit_documents or UNIT_DOCUMENTS
    return min(asked, -(-documents // _UNITS_OF_RUN))


def lists_of_a_group(work: Work, documents: int | None) -> int:
    """Lists of a row group, which is where an input is cut: a unit's, or a few where None."""
    candidates = work.documents // len(work.lists)
    return -(-(documents or _GROUP_DOCUMENTS) // candidates)


def write_input(work: Work, folder: Path, *, copies: int, group: int) -> None:
    """Write the workload as nested lists, a file per copy.

    Args:
        work: the workload.
        folder: made here.
        copies: how often.
        group: lists of a row group.
    """
    folder.mkdir()
    table = _nested(work.lists)
    for copy in range(copies):
        path = folder / f"part-{copy:04d}.parquet"
        pq.write_table(_with_other_queries(table, copy), path, row_group_size=group)


def _with_other_queries(table: pa.Table, copy: int) -> pa.Table:
    """The same candidates for the queries ``copy`` places further on, under ids of their own."""
    places = (np.arange(len(table)) + copy) % len(table)
    queries = table.drop_columns([schema.CANDIDATES]).take(pa.array(places))
    ids = pa.array([f"{copy}-{place}" for place in range(len(table))], pa.string())
    return queries.set_column(
        queries.column_names.index(schema.QUERY_ID), schema.QUERY_ID, ids
    ).append_column(schema.CANDIDATES, table.column(schema.CANDIDATES))


def _nested(lists: CandidateLists) -> pa.Table:
    """A row per query, its candidates as a list of structs."""
    with pa.ipc.open_stream(pa.py_buffer(lists.to_ipc())) as reader:
        return reader.read_all()
