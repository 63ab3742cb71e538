"""DuckDB."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.config.reading.loading import validate
from pipeline.errors import ConfigurationError, FeedError
from pipeline.outputs.feeds.duckdb import DuckdbFeed, DuckdbSettings
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import Job, Nights

_READER = """
import duckdb, sys
open_ = duckdb.connect(sys.argv[1], read_only=True)
for _ in range(2):
    print(open_.execute("SELECT generation, (SELECT count(*) FROM rankings) "
                        "FROM rankings_generation").fetchone(), flush=True)
    sys.stdin.readline()
"""


class Target(contract.Target):
    """A file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "served" / "rankings.duckdb"

    def make(self) -> DuckdbFeed:
        return DuckdbFeed(DuckdbSettings(path=str(self.path)), name="file")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        if not self.path.exists():
            return None, {}
        with duckdb.connect(str(self.path), read_only=True) as found:
            ((generation,),) = found.sql("SELECT generation FROM rankings_generation").fetchall()
            return generation, contract.served_rows(found.sql("FROM rankings").to_arrow_table())


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(tmp_path: Path, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(Target(tmp_path), ids, count=6)


def test_a_full_load_replaces_what_was_there(tmp_path: Path) -> None:
    contract.a_full_load_replaces(Target(tmp_path))


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(tmp_path: Path, full: bool) -> None:
    folders = (tmp_path / str(number) for number in range(100))
    contract.killed_anywhere(lambda: Target(next(folders)), full=full, parts=1)


def test_abandoned_deliveries_leave_nothing(tmp_path: Path) -> None:
    target = Target(tmp_path)
    contract.abandoned_deliveries_leave_nothing(target)
    assert [path.name for path in target.path.parent.iterdir()] == ["rankings.duckdb"]


def test_columns_come_and_go(tmp_path: Path) -> None:
    contract.columns_come_and_go(Target(tmp_path))


def test_who_has_the_file_open_reads_on_and_keeps_nobody_out(tmp_path: Path) -> None:
    target = Target(tmp_path)
    nights = Nights(0)
    before, after = nights.tables(2)
    job = Job(nights, target.make)
    job.run(nights.parts({}, before, 1), 1, None)
    command = [sys.executable, "-c", _READER, str(target.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        first = reader.stdout.readline()
        job.run(nights.parts(before, after, 1), 2, 1)
        second = reader.communicate("\n\n")[0]
    assert first == second == f"(1, {sum(map(len, before.values()))})\n"
    assert target.served([]) == (2, target.table(after))


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    target = Target(tmp_path)
    target.path.parent.mkdir()
    with duckdb.connect(str(target.path)) as other:
        other.execute("CREATE TABLE precious AS SELECT 1")
    with pytest.raises(FeedError, match="cannot be read as what this feed made"):
        Job(Nights(0), target.make).run([], 1, None)


@pytest.mark.parametrize("path", ["s3://bucket/x.duckdb", "md:shop", ":memory:"])
def test_only_local_files(path: str) -> None:
    with pytest.raises(ConfigurationError, match="local file"):
        validate(DuckdbSettings, {"path": path}, prefix="feeds.file")
