"""Delta Lake, written and read by its library."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from pipeline.errors import FeedError
from pipeline.outputs.feeds.delta import APPLICATION, DeltaFeed, DeltaSettings
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import Job, Nights


class Target(contract.Target):
    """A folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "table")

    def make(self) -> DeltaFeed:
        return DeltaFeed(DeltaSettings(path=self.path), name="lake")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        if not DeltaTable.is_deltatable(self.path):
            return None, {}
        table = DeltaTable(self.path)
        return table.transaction_version(APPLICATION), contract.served_rows(
            table.to_pyarrow_table()
        )


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(tmp_path: Path, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(Target(tmp_path), ids, count=6)


def test_a_full_load_replaces_what_was_there(tmp_path: Path) -> None:
    contract.a_full_load_replaces(Target(tmp_path))


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(tmp_path: Path, full: bool) -> None:
    folders = (tmp_path / str(number) for number in range(100))
    contract.killed_anywhere(lambda: Target(next(folders)), full=full)


def test_abandoned_deliveries_leave_nothing(tmp_path: Path) -> None:
    contract.abandoned_deliveries_leave_nothing(Target(tmp_path))


def test_readers_see_one_generation(tmp_path: Path) -> None:
    contract.readers_see_one_generation(Target(tmp_path), lambda: Target(tmp_path), count=6)


def test_columns_come_and_go(tmp_path: Path) -> None:
    contract.columns_come_and_go(Target(tmp_path))


def test_tables_of_others_are_left_alone(tmp_path: Path) -> None:
    target = Target(tmp_path)
    write_deltalake(target.path, pa.table({"precious": [1]}))
    with pytest.raises(FeedError, match="no feed made"):
        Job(Nights(0), target.make).run([], 1, None)
    assert DeltaTable(target.path).version() == 0
