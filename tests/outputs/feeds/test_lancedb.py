"""LanceDB."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pytest

from pipeline.config import InputConfig
from pipeline.errors import FeedError
from pipeline.outputs.feeds.lancedb import LancedbFeed, LancedbSettings
from pipeline.sources.source import open_source, read_shard
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import Job, Nights


class Target(contract.Target):
    """A folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "database")

    def make(self) -> LancedbFeed:
        return LancedbFeed(LancedbSettings(path=self.path), name="vectors")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        """Read as docs/feeds.md says."""
        database = lancedb.connect(self.path)
        if "rankings" not in database.list_tables().tables:
            return None, {}
        table = database.open_table("rankings")
        tags = table.tags.list()
        if "current" not in tags:
            return None, {}
        table.checkout("current")
        rows = table.to_arrow()
        generations = [
            int(tag.removeprefix("generation-"))
            for tag, found in tags.items()
            if tag.startswith("generation-") and found["version"] == table.version
        ]
        return max(generations), contract.served_rows(rows)


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(tmp_path: Path, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(Target(tmp_path), ids, count=6)


def test_a_run_reads_what_a_feed_has_written(tmp_path: Path) -> None:
    """A table of rankings is candidates by reference, with scores and ranks of a first stage."""
    target = Target(tmp_path)
    nights = Nights(1)
    before, after = nights.tables(2)
    job = Job(nights, target.make)
    job.run(nights.parts({}, before, 2), 1, None)
    job.run(nights.parts(before, after, 2), 2, 1)
    path = f"{target.path}/rankings.lance"
    config = InputConfig(path=path, corpus="documents", queries="queries")
    source = open_source("candidates", [path], config)
    tables = [table for shard in source.shards(1) for table in read_shard(source, shard)]
    rows = [row for table in tables for row in table.to_pylist()]
    found = sorted((r["query_id"], r["first_stage_rank"], r["doc_id"]) for r in rows)
    assert found == sorted(
        (query, rank, document.doc_id)
        for query, documents in after.items()
        for rank, document in enumerate(documents, 1)
    )


def test_a_full_load_replaces_what_was_there(tmp_path: Path) -> None:
    contract.a_full_load_replaces(Target(tmp_path))


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(tmp_path: Path, full: bool) -> None:
    folders = (tmp_path / str(number) for number in range(100))
    contract.killed_anywhere(lambda: Target(next(folders)), full=full, parts=1)


def test_abandoned_deliveries_leave_nothing(tmp_path: Path) -> None:
    contract.abandoned_deliveries_leave_nothing(Target(tmp_path))


def test_columns_come_and_go(tmp_path: Path) -> None:
    contract.columns_come_and_go(Target(tmp_path))


def test_tables_of_others_are_left_alone(tmp_path: Path) -> None:
    target = Target(tmp_path)
    lancedb.connect(target.path).create_table("rankings", pa.table({"precious": [1]}))
    with pytest.raises(FeedError, match="no feed made"):
        Job(Nights(0), target.make).run([], 1, None)
