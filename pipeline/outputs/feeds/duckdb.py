"""DuckDB: one local file with the rows and their generation, replaced whole by the next one.

The next generation is made in a copy beside it: in place, one reader that has the file open would
keep the feed out, and the feed every reader. Who has the old file open reads it on.

Reading: [serving.md](serving.md#duckdb).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from pipeline.config import Settings
from pipeline.errors import FeedError
from pipeline.extras import library
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.row_table import (
    KEYS,
    all_rows,
    expect_base,
    kept_rows,
    reshaped,
    row_schema,
)

_SAME: Final = " AND ".join(f"t.{key} = s.{key}" for key in KEYS)
_GENERATION: Final = "SELECT generation FROM rankings_generation"


class DuckdbSettings(Settings):
    """Where the file lies."""

    path: str = Field(
        min_length=1,
        description="The database, a local file; its folder is made where it is missing. It has "
        "the tables `rankings` and `rankings_generation`.",
    )

    @field_validator("path")
    @classmethod
    def _local(cls, path: str) -> str:
        if "://" in path or path.startswith("md:") or path == ":memory:":
            raise ValueError("expected the path of a local file")
        return path


class DuckdbFeed(Feed):
    """Applies the changes to a copy in one transaction, and puts it in the file's place."""

    Settings = DuckdbSettings

    def __init__(self, settings: DuckdbSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._path = Path(settings.path)
        self._next = Path(f"{settings.path}.next")
        self._open: Any = None

    def held(self) -> int | None:
        """What the file's table says."""
        if not self._path.exists():
            return None
        with self._told(), self._connect(self._path, read_only=True) as found:
            return int(found.execute(_GENERATION).fetchone()[0])

    def keeps(self, delivery: Delivery) -> bool:
        """No: what a killed process had put was not committed."""
        return False

    def begin(self, delivery: Delivery) -> None:
        """Copy what is held, and begin the transaction."""
        self.close()
        self._expect_base(delivery)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_next()
        if not delivery.full:
            shutil.copyfile(self._path, self._next)
        self._open = self._connect(self._next)
        self._open.execute("BEGIN")
        self._make_table(delivery)

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Delete what is gone and what comes anew, and insert the latter."""
        rows = part.rows()
        self._open.register("changed", all_rows(rows, delivery).select(list(KEYS)))
        self._open.execute(f"DELETE FROM rankings t USING changed s WHERE {_SAME}")
        self._open.register("kept", kept_rows(rows, delivery))
        self._open.execute("INSERT INTO rankings BY NAME SELECT * FROM kept")
        for name in ("changed", "kept"):
            self._open.unregister(name)

    def switch(self, delivery: Delivery) -> None:
        """Commit, and put the new file in the place of the old one."""
        if self._open is None and self.held() == delivery.generation:
            return
        self._expect_base(delivery)
        self._open.execute(
            "CREATE OR REPLACE TABLE rankings_generation AS SELECT ?::BIGINT AS generation, "
            "? AS run_id, ?::DATE AS date",
            [delivery.generation, delivery.run_id, delivery.date],
        )
        self._open.execute("COMMIT")
        self._open.execute("CHECKPOINT")
        self.close()
        _sync(self._next)
        self._next.replace(self._path)
        _sync(self._path.parent)

    def clean(self, delivery: Delivery) -> None:
        """Remove what a killed process left."""
        self._remove_next()

    def close(self) -> None:
        """Close the copy; what is not committed is gone."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _make_table(self, delivery: Delivery) -> None:
        """Make the table where it is missing or has other columns."""
        self._open.register("example", row_schema(delivery).empty_table())
        self._open.execute("CREATE TEMP TABLE wanted AS SELECT * FROM example")
        self._open.unregister("example")
        there = self._columns("rankings", temporary=False)
        wanted = self._columns("wanted", temporary=True)
        if not there or reshaped(there, wanted, delivery, feed=self.name, target=str(self._path)):
            self._open.execute("CREATE OR REPLACE TABLE rankings AS SELECT * FROM wanted")
        self._open.execute("DROP TABLE wanted")

    def _columns(self, table: str, *, temporary: bool) -> dict[str, str]:
        return dict(
            self._open.execute(
                "SELECT column_name, data_type FROM duckdb_columns() "
                "WHERE table_name = ? AND (database_name = 'temp') = ?",
                [table, temporary],
            ).fetchall()
        )

    def _expect_base(self, delivery: Delivery) -> None:
        expect_base(self.held(), delivery, feed=self.name, target=str(self._path))

    def _connect(self, path: Path, *, read_only: bool = False) -> Any:
        duckdb = library("duckdb", extra="duckdb", needed_by=f"feed '{self.name}'")
        return duckdb.connect(str(path), read_only=read_only)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Files that no feed made are told by name, and never replaced."""
        duckdb = library("duckdb", extra="duckdb", needed_by=f"feed '{self.name}'")
        try:
            yield
        except duckdb.Error as error:
            raise FeedError(
                f"feed '{self.name}': {self._path} cannot be read as what this feed made "
                f"({type(error).__name__}: {error}). Close what writes to it, or remove it: then "
                "it is loaded in full"
            ) from error

    def _remove_next(self) -> None:
        for path in (self._next, Path(f"{self._next}.wal")):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the kernel write a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
