"""The Ray Data graphs that make changes: rows shuffled to their buckets, rows picked from files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import pyarrow as pa

from pipeline.cluster.ray_tasks import mapped, numbers, rows_of, shuffled
from pipeline.config import RayConfig
from pipeline.refresh.changes.part_files import Record
from pipeline.refresh.changes.work import (
    BUCKET,
    RunFile,
    Work,
    dealt_out,
    write_bucket,
    write_buckets,
)

_MOST_TASKS: Final = 1_000


def records(work: Work, todo: Sequence[int], config: RayConfig) -> Iterator[Record]:
    """Parts as they are written, in any order; those without rows last."""
    made = set()
    if work.files:
        tasks = _tasks(work.files)
        dealing = partial(_deal_out, work=work, todo=todo, tasks=tasks)
        rows = mapped(numbers(tasks), dealing, config)
        written = partial(_write_buckets, work=work)
        dataset = mapped(shuffled(rows, BUCKET, len(todo)), written, config, whole=True)
        for row in rows_of(dataset):
            record = json.loads(row["record"])
            made.add(record["number"])
            yield record
    for number in sorted(set(todo) - made):
        yield write_bucket(number, work.moving.empty_table(), work)


def picked(
    files: Sequence[RunFile], pick: Callable[[RunFile], pa.Table], config: RayConfig
) -> Iterator[pa.Table]:
    """What a function picks from each file, in any order; few rows, since they come here."""
    if files:
        tasks = _tasks(files)
        picking = partial(_pick, files=tuple(files), pick=pick, tasks=tasks)
        for row in rows_of(mapped(numbers(tasks), picking, config)):
            yield pa.ipc.open_stream(row["rows"]).read_all()


def _tasks(files: Sequence[RunFile]) -> int:
    """How many tasks read the files: a run of small units has more files than Ray likes tasks."""
    return min(len(files), _MOST_TASKS)


def _deal_out(batch: pa.Table, work: Work, todo: Sequence[int], tasks: int) -> Iterator[pa.Table]:
    [number] = batch.column("id").to_pylist()
    for file in work.files[number::tasks]:
        yield dealt_out(file, work, todo)


def _write_buckets(batch: pa.Table, work: Work) -> Iterator[pa.Table]:
    for record in write_buckets(batch, work):
        yield pa.table({"record": pa.array([json.dumps(record)], pa.string())})


def _pick(
    batch: pa.Table, files: tuple[RunFile, ...], pick: Callable[[RunFile], pa.Table], tasks: int
) -> Iterator[pa.Table]:
    [number] = batch.column("id").to_pylist()
    for file in files[number::tasks]:
        rows = pick(file)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        yield pa.table({"rows": pa.array([sink.getvalue().to_pybytes()], pa.binary())})
