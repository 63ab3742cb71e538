"""The Ray Data graphs that make a copy: parts of ranges, or rows shuffled to where they belong."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.config import RayConfig
from pipeline.errors import RerankError
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
    import ray
    import ray.data

#: How often a task is begun again whose worker or node is lost.
_RETRIES: Final = 10

#: Partitions of a shuffle for each part, since a partition holds what its hash makes it hold.
_SPREAD: Final = 4

#: Bytes of rows that a task of a shuffle deals out to partitions.
_GATHERED_BYTES: Final = 64 << 20

#: Every task of a shuffle returns an object for each partition, so they must not be too many.
_MOST_PARTITIONS: Final = 1_000


def surveys(work: Work, config: RayConfig) -> Iterator[ShardRuns]:
    """What the shards of the candidates say, in order."""
    found: dict[int, ShardRuns] = {}
    numbers = _numbers(len(work.candidates))
    for row in _rows(_mapped(numbers, partial(_survey, work=work), config)):
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
        dataset = _mapped(rows, partial(_write_parts, work=work, **lookups), config, whole=True)
    else:
        dataset = _mapped(_items(todo), partial(_make_range, work=work, **lookups), config)
    made = set()
    for row in _rows(dataset):
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
    import ray

    # Ray Data gathers far more before it partitions, and holds it several times over.
    ray.data.DataContext.get_current().shuffle_input_batch_bytes = _GATHERED_BYTES
    corpus, queries = work.sources.corpus, work.sources.queries
    numbers = len(work.candidates)
    if corpus is not None and work.strategy.by_document:
        buckets = _partitions(round(corpus.size_bytes / work.sizes.part))
        met = _mapped(
            _numbers(numbers + len(work.shards["corpus"])),
            partial(rows_to_documents, work=work, finished=finished, buckets=buckets),
            config,
        ).repartition(buckets, keys=[BUCKET])
        rows = _mapped(met, partial(documents_attached, work=work), config, whole=True)
    else:
        given = partial(rows_to_parts, work=work, finished=finished)
        rows = _mapped(_numbers(numbers), given, config)
    if queries is not None and work.strategy.by_query:
        asked = partial(query_rows, work=work, finished=finished)
        rows = rows.union(_mapped(_numbers(len(work.shards["queries"])), asked, config))
    return rows.repartition(_partitions(len(todo)), keys=[PART])


def _partitions(pieces: int) -> int:
    return min(max(2, _SPREAD * pieces), _MOST_PARTITIONS)


def _mapped(
    dataset: ray.data.Dataset, function: Any, config: RayConfig, *, whole: bool = False
) -> ray.data.Dataset:
    """A dataset whose rows, or ``whole`` blocks, a function makes others of in tasks."""
    with warnings.catch_warnings():
        # Retries have no named parameter in Ray 2.60; the generic ones are deprecated.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*is deprecated")
        return dataset.map_batches(
            function,
            batch_size=None if whole else 1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=config.read_cpus,
            label_selector=config.task_labels or None,
            max_retries=_RETRIES,
        )


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
    options = {"num_cpus": config.read_cpus, "max_retries": _RETRIES}
    return load.options(**options).remote(source, work)


def _fetched(reference: Any) -> Lookup | None:
    """The lookup of a reference; its arrays are views of memory that the node's processes share."""
    if reference is None:
        return None
    import ray

    found: Lookup = ray.get(reference)
    return found


def _numbers(count: int) -> ray.data.Dataset:
    import ray

    return ray.data.range(count, override_num_blocks=count)


def _items(numbers: list[int]) -> ray.data.Dataset:
    import ray

    rows = [{"id": number} for number in numbers]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def _rows(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Rows as soon as they are there; what was wrong with a source is raised as what it was.

    Raises:
        RerankError: a task did.
    """
    batches: Any = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
    try:
        for batch in batches:
            yield from batch.to_pylist()
    except Exception as error:
        cause: Any = error
        while cause is not None and not isinstance(cause, RerankError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is None:
            raise
        raise cause from None
