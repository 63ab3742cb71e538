"""The Ray Data graphs that make a copy: parts of ranges, or rows shuffled to where they belong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.cluster.ray_tasks import (
    RETRIES,
    items,
    mapped,
    numbers,
    partitions,
    rows_of,
    shuffled,
)
from pipeline.config import RayConfig
from pipeline.sources.source import Source
from pipeline.staging.lookup import Lookup
from pipeline.staging.moving import (
    BUCKET,
    PART,
    documents_attached,
    query_rows,
    rows_to_documents,
    rows_to_parts,
    write_parts,
)
from pipeline.staging.survey import ShardRuns, survey_shard
from pipeline.staging.work import Record, Work, make_part, make_range, no_rows, read_lookup

if TYPE_CHECKING:
    import ray.data


def surveys(work: Work, config: RayConfig) -> Iterator[ShardRuns]:
    """What the shards of the candidates say, in order."""
    found: dict[int, ShardRuns] = {}
    shards = numbers(len(work.candidates))
    for row in rows_of(mapped(shards, partial(_survey, work=work), config)):
        hashes = np.array(row["hashes"], dtype=np.uint64)
        found[row["number"]] = ShardRuns(rows=row["rows"], hashes=hashes, second=row["second"])
    yield from (found[number] for number in range(len(work.candidates)))


def records(work: Work, todo: list[int], config: RayConfig) -> Iterator[Record]:
    """Parts as they are committed, in any order; those without candidates last."""
    strategy, sources = work.strategy, work.sources
    lookups = {
        "corpus": None if strategy.by_document else _broadcast(sources.corpus, work, config),
        "queries": None if strategy.by_query else _broadcast(sources.queries, work, config),
    }
    if strategy.kind == "shuffle":
        rows = _shuffled(work, todo, config)
        dataset = mapped(rows, partial(_write_parts, work=work, **lookups), config, whole=True)
    else:
        dataset = mapped(items(todo), partial(_make_range, work=work, **lookups), config)
    made = set()
    for row in rows_of(dataset):
        record = json.loads(row["record"])
        made.add(record["number"])
        yield record
    for number in sorted(set(todo) - made):
        yield make_part(number, no_rows(work), work, None, None)


def _shuffled(work: Work, todo: list[int], config: RayConfig) -> ray.data.Dataset:
    """Candidates beside their documents, where those have no room, and all rows of a part together.

    A block of what comes holds whole parts.
    """
    finished = frozenset(range(work.parts)) - frozenset(todo)
    corpus, queries = work.sources.corpus, work.sources.queries
    shards = len(work.candidates)
    if corpus is not None and work.strategy.by_document:
        pieces = round(corpus.size_bytes / work.sizes.part)
        sent = mapped(
            numbers(shards + len(work.shards["corpus"])),
            partial(rows_to_documents, work=work, finished=finished, buckets=partitions(pieces)),
            config,
        )
        met = shuffled(sent, BUCKET, pieces)
        rows = mapped(met, partial(documents_attached, work=work), config, whole=True)
    else:
        given = partial(rows_to_parts, work=work, finished=finished)
        rows = mapped(numbers(shards), given, config)
    if queries is not None and work.strategy.by_query:
        asked = partial(query_rows, work=work, finished=finished)
        rows = rows.union(mapped(numbers(len(work.shards["queries"])), asked, config))
    return shuffled(rows, PART, len(todo))


def _survey(batch: pa.Table, work: Work) -> pa.Table:
    [number] = batch.column("id").to_pylist()
    runs = survey_shard(work.sources.candidates, work.candidates[number])
    hashes = pa.array([runs.hashes], pa.list_(pa.uint64()))
    found = {"number": [number], "rows": [runs.rows], "second": [runs.second], "hashes": hashes}
    return pa.table(found)


def _make_range(batch: pa.Table, work: Work, corpus: Any, queries: Any) -> pa.Table:
    [number] = batch.column("id").to_pylist()
    return _status(make_range(number, work, _fetched(corpus), _fetched(queries)))


def _write_parts(batch: pa.Table, work: Work, corpus: Any, queries: Any) -> Iterator[pa.Table]:
    for record in write_parts(batch, work, _fetched(corpus), _fetched(queries)):
        yield _status(record)


def _status(record: Record) -> pa.Table:
    return pa.table({"record": pa.array([json.dumps(record)], pa.string())})


def _broadcast(source: Source | None, work: Work, config: RayConfig) -> Any:
    """A reference to a lookup that a task reads, once for all nodes; None for None."""
    if source is None:
        return None
    import ray

    load: Any = ray.remote(read_lookup)
    options = {"num_cpus": config.read_cpus, "max_retries": RETRIES}
    return load.options(**options).remote(source, work)


def _fetched(reference: Any) -> Lookup | None:
    """The lookup of a reference; its arrays are views of memory that the node's processes share."""
    if reference is None:
        return None
    import ray

    found: Lookup = ray.get(reference)
    return found
