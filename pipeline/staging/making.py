"""A staged copy from its first look to its manifest; what is there of it stays as it is."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from pipeline.candidates.reading import split_query_error
from pipeline.config import InputConfig
from pipeline.errors import RunFailedError
from pipeline.sources.source import Role, Source, open_source, read_shard
from pipeline.staging.clustering import cluster, cut
from pipeline.staging.copy_folder import CopyFolder
from pipeline.staging.part_file import copy_layout, part_bytes, sizes_of
from pipeline.staging.strategy import (
    Sizes,
    Sources,
    Strategy,
    first_look,
    row_bytes,
    settled,
)
from pipeline.staging.survey import (
    Range,
    ShardRuns,
    query_ids,
    query_with_hash,
    ranges_of,
    runs_of,
    surveyed,
)
from pipeline.staging.work import Record, Work, joined_tables, read_lookup

logger = logging.getLogger("pipeline")

#: Seconds between lines of the log about a copy that is being made.
_SAID_S: Final = 10.0

#: Raised when a copy of the same sources and settings gets other bytes.
VERSION: Final = 1


class Place(Protocol):
    """Where the work of a copy is done."""

    def surveys(self, work: Work) -> Iterator[ShardRuns]:
        """What the shards of the candidates say, in order."""

    def records(self, work: Work, todo: list[int]) -> Iterator[Record]:
        """Parts as they are committed, in any order."""


@dataclass(frozen=True, kw_only=True)
class Staging:
    """A copy that an input needs.

    Attributes:
        config: the input.
        sources: opened.
        columns: that are copied to the output.
        folder: where the copy is or will be.
        sizes: how much is done at once.
        look: how it will be made, as far as that is known before anything is read.
    """

    config: InputConfig
    sources: Sources
    columns: tuple[str, ...]
    folder: CopyFolder
    sizes: Sizes
    look: Strategy | None


def open_staging(
    config: InputConfig,
    *,
    columns: tuple[str, ...],
    folder: str,
    scattered: bool = False,
    sizes: Sizes,
) -> Staging:
    """Open what a copy is to be made of.

    Args:
        config: the input.
        columns: that are copied to the output.
        folder: of all copies.
        scattered: whether queries are known to be.
        sizes: how much is done at once.

    Raises:
        NotFoundError, InputContractError: a source is not there, or not what it should be.
    """
    if scattered:
        config = config.model_copy(update={"order": "scattered"})
    sources = Sources(
        candidates=open_source("candidates", config.path, config, pass_through=columns),
        corpus=_opened("corpus", config, columns),
        queries=_opened("queries", config, columns),
    )
    settings = config.model_dump(mode="json", exclude={"path", "corpus", "queries", "staging"})
    parts = [
        VERSION,
        asdict(sizes),
        [source.described() for source in sources.all],
        settings,
        columns,
    ]
    copy_id = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return Staging(
        config=config, sources=sources, columns=columns,
        folder=CopyFolder(f"{folder}/{copy_id}"), sizes=sizes,
        look=first_look(config, sources, sizes),
    )  # fmt: skip


def _opened(role: Role, config: InputConfig, columns: tuple[str, ...]) -> Source | None:
    paths = config.corpus if role == "corpus" else config.queries
    return None if paths is None else open_source(role, paths, config, pass_through=columns)


def make(staging: Staging, place: Callable[[], Place]) -> dict[str, Any]:
    """Make a copy, or what is missing of it; returns its manifest.

    Args:
        staging: the copy.
        place: gives the place for one that is too large for this process; not called for others.

    Raises:
        InputContractError: queries are scattered and may not be, or an id has two contents.
        RunFailedError: not every part came.
    """
    begun = time.monotonic()
    logger.info("staged copy: made before anything is scored, at %s", staging.folder.path)
    small = staging.look is not None and staging.look.kind == "in_memory"
    plan, records, made = _in_memory(staging) if small else _elsewhere(staging, place())
    rows = sum(record["rows"] + record["left_out"] for record in records.values())
    if len(records) != plan["parts"] or rows != plan["rows"]:
        raise RunFailedError(
            f"{staging.folder.path}: {len(records)} of {plan['parts']} parts of the staged copy "
            f"are there, with {rows:,} of {plan['rows']:,} candidates; run the same command again "
            "to go on, and if that does not help, remove the folder"
        )
    staging.folder.finish(plan, records)
    logger.info(
        "staged copy: parts made: %d of %d, %d MiB, in %.1f s", made, len(records),
        sum(record["bytes"] for record in records.values()) >> 20, time.monotonic() - begun,
    )  # fmt: skip
    manifest = staging.folder.manifest()
    assert manifest is not None, "it was written a moment ago"
    return manifest


def _in_memory(staging: Staging) -> tuple[dict[str, Any], dict[int, Record], int]:
    sources, folder = staging.sources, staging.folder
    assert staging.look is not None
    work = _work(staging, staging.look, parts=0)
    given = sources.candidates
    tables = [t for shard in work.candidates for t in read_shard(given, shard)]
    if staging.config.order == "grouped":
        _refuse_scattered(staging, lambda: iter(tables))
    rows = joined_tables(tables, work)
    corpus, queries = read_lookup(sources.corpus, work), read_lookup(sources.queries, work)
    order, starts = cluster(rows)
    beside = sum(lookup.row_bytes for lookup in (corpus, queries) if lookup is not None)
    ranges = cut(starts, sizes_of(rows)[order] + beside, staging.sizes.part) or [(0, 0)]
    plan = folder.write_plan(_plan(staging, staging.look, len(ranges), len(order)))
    records = folder.records(len(ranges))
    todo = [number for number in range(len(ranges)) if number not in records]
    for number in todo:
        lower, upper = ranges[number]
        count = int(np.sum((starts[:-1] >= lower) & (starts[:-1] < upper)))
        records[number] = folder.commit(
            number,
            part_bytes(rows, order[lower:upper], count, work.layout, corpus=corpus, lookup=queries),
        )
    return plan, records, len(todo)


def _refuse_scattered(staging: Staging, tables: Callable[[], Iterator[Any]]) -> None:
    """Refuse scattered queries where ``input.order`` says that there are none."""
    repeated = surveyed([runs_of(tables())]).repeated
    if repeated is not None:
        raise split_query_error(query_with_hash(tables(), repeated), _paths(staging))


def _elsewhere(staging: Staging, place: Place) -> tuple[dict[str, Any], dict[int, Record], int]:
    plan = staging.folder.plan() or staging.folder.write_plan(_planned(staging, place))
    strategy = Strategy(**plan["strategy"])
    work = _work(staging, strategy, parts=plan["parts"], ranges=plan["ranges"])
    records = staging.folder.records(plan["parts"])
    todo = [number for number in range(plan["parts"]) if number not in records]
    if todo:
        logger.info("staged copy: parts to make: %d of %d", len(todo), plan["parts"])
        said = time.monotonic()
        for record in place.records(work, todo):
            records[record["number"]] = record
            if time.monotonic() - said >= _SAID_S:
                said = time.monotonic()
                logger.info("staged copy: parts made: %d of %d", len(records), plan["parts"])
    return plan, records, len(todo)


def _planned(staging: Staging, place: Place) -> dict[str, Any]:
    """Look at the query ids, and decide how and into how many parts the copy is cut."""
    sources, given = staging.sources, staging.sources.candidates
    work = _work(staging, staging.look or Strategy(kind="ranges", reason=""), parts=0)
    survey = surveyed(place.surveys(work))
    strategy, repeated = staging.look, survey.repeated
    if repeated is not None and (strategy is None or staging.config.order == "grouped"):
        query = query_with_hash(query_ids(given, work.candidates), repeated)
        if staging.config.order == "grouped":
            raise split_query_error(query, _paths(staging))
        strategy = settled(sources, query)
    elif strategy is None:
        strategy = settled(sources, None)
    size = sum(row_bytes(source, work.shards[source.role]) for source in sources.all)
    rows = sum(survey.rows)
    if strategy.kind == "shuffle":
        return _plan(staging, strategy, max(1, round(rows * size / staging.sizes.part)), rows)
    ranges = ranges_of(survey, size, staging.sizes.part)
    return _plan(staging, strategy, len(ranges), rows, ranges)


def _plan(
    staging: Staging, strategy: Strategy, parts: int, rows: int, ranges: list[Range] | None = None
) -> dict[str, Any]:
    return {
        "made": time.time(),
        "version": VERSION,
        "copy_id": staging.folder.copy_id,
        "sources": [source.described() for source in staging.sources.all],
        "strategy": asdict(strategy),
        "columns": _layout(staging.sources).names,
        "parts": parts,
        "rows": rows,
        "ranges": [asdict(part) for part in ranges or ()],
    }


def _work(staging: Staging, strategy: Strategy, *, parts: int, ranges: Any = ()) -> Work:
    sources = staging.sources
    return Work(
        sources=sources, strategy=strategy, folder=staging.folder, parts=parts,
        layout=_layout(sources),
        ranges=tuple(Range(**part) for part in ranges),
        sizes=staging.sizes,
        shards={source.role: tuple(source.shards(staging.sizes.shard)) for source in sources.all},
    )  # fmt: skip


def _layout(sources: Sources) -> pa.Schema:
    return copy_layout(
        sources.candidates.schema,
        None if sources.corpus is None else sources.corpus.schema,
        None if sources.queries is None else sources.queries.schema,
    )


def _paths(staging: Staging) -> str:
    return ", ".join(staging.config.path)
