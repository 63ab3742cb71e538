"""The Ray Data graph that makes a reuse table: yesterday's rows shuffled to today's parts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.cluster.ray_tasks import mapped, numbers, rows_of, shuffled
from pipeline.config import RayConfig
from pipeline.hashes import Hashes
from pipeline.refresh.reuse.in_process import by_part
from pipeline.refresh.reuse.matching import make_part
from pipeline.refresh.reuse.routing import Routes, queries_of, routed, standing_for
from pipeline.refresh.reuse.work import PART, ROUTED, Record, Work


def queries(work: Work, config: RayConfig) -> Iterator[Hashes]:
    """Hashes of the queries of each part, in order."""
    found: dict[int, Hashes] = {}
    for row in rows_of(mapped(numbers(len(work.parts)), partial(_queries, work=work), config)):
        found[row["number"]] = np.frombuffer(row["hashes"], dtype="<u8").astype(np.uint64)
    yield from (found[number] for number in range(len(work.parts)))


def records(work: Work, routes: Routes, todo: list[int], config: RayConfig) -> Iterator[Record]:
    """Parts as they are committed, in any order; the rows of both nights stay with the tasks."""
    import ray

    # A part that nothing is routed to is made as well: one row says so.
    rows: ray.data.Dataset = ray.data.from_arrow(
        pa.concat_tables([standing_for(number) for number in todo])
    )
    if work.old:
        sent = partial(_routed, work=work, routes=ray.put(routes), todo=frozenset(todo))
        rows = rows.union(mapped(numbers(len(work.old)), sent, config))
    together = shuffled(rows, PART, len(todo))
    for row in rows_of(mapped(together, partial(_make_parts, work=work), config, whole=True)):
        yield json.loads(row["record"])


def _queries(batch: pa.Table, work: Work) -> pa.Table:
    [number] = batch.column("id").to_pylist()
    part = work.parts[number]
    hashes = queries_of(work.source, part.start, part.stop).astype("<u8").tobytes()
    return pa.table({"number": [number], "hashes": pa.array([hashes], pa.large_binary())})


def _routed(batch: pa.Table, work: Work, routes: Any, todo: Collection[int]) -> Iterator[pa.Table]:
    import ray

    [number] = batch.column("id").to_pylist()
    yield ROUTED.empty_table()
    # Its arrays are views of memory that the node's processes share.
    yield from routed(number, work, ray.get(routes), todo)


def _make_parts(batch: pa.Table, work: Work) -> Iterator[pa.Table]:
    for number, rows in by_part(batch):
        record = make_part(number, rows, work)
        yield pa.table({"record": pa.array([json.dumps(record)], pa.string())})
