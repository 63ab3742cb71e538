"""Delta Lake: one commit a generation, which says so itself.

A delivery is one ``MERGE``, a full load one overwrite; each commit carries the generation as the
format's own application transaction (``txn``), so that rows and generation cannot disagree.
Readers have what Delta gives them: a version of the table, whole.

Reading: [serving.md](serving.md#delta).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import FeedError
from pipeline.extras import library
from pipeline.outputs.feeds.support.base import CHANGE, GONE, ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.row_table import (
    KEYS,
    all_rows,
    expect_base,
    kept_rows,
    lost_parts,
    reshaped,
    row_schema,
)

#: Names the generation among a table's application transactions.
APPLICATION: Final = "rerank-feed"
_SAME: Final = " AND ".join(f"t.{key} = s.{key}" for key in KEYS)


class DeltaSettings(Settings):
    """Where the table lies."""

    path: str = Field(
        min_length=1,
        description="Folder of the table, local or a URI that `deltalake` knows (s3://, gs://, "
        "abfss://); credentials come from the environment.",
    )


class DeltaFeed(Feed):
    """Keeps the parts until the switch, and reads them then."""

    Settings = DeltaSettings

    def __init__(self, settings: DeltaSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._parts: dict[int, ChangePart] = {}

    def held(self) -> int | None:
        """The application transaction of the newest version."""
        table = self._table()
        if table is None:
            return None
        held = table.transaction_version(APPLICATION)
        if held is None:
            raise FeedError(
                f"feed '{self.name}': {self.settings.path} is a Delta table that no feed made; its "
                f"rows would be replaced. Let feeds.{self.name}.path name another"
            )
        return int(held)

    def keeps(self, delivery: Delivery) -> bool:
        """No: parts are kept by the process alone."""
        return False

    def begin(self, delivery: Delivery) -> None:
        """Forget other parts."""
        expect_base(self.held(), delivery, feed=self.name, target=self.settings.path)
        self._parts = {}

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Remember the part; it is read when the table is written."""
        self._parts[number] = part

    def switch(self, delivery: Delivery) -> None:
        """Commit the generation."""
        held = self.held()
        if held == delivery.generation and not delivery.full:
            return
        expect_base(held, delivery, feed=self.name, target=self.settings.path)
        if len(self._parts) != delivery.parts:
            raise lost_parts(self.name, self.settings.path)
        table = None if delivery.full else self._table()
        if table is None or self._reshaped(table, delivery):
            columns = row_schema(delivery)
            rows = pa.RecordBatchReader.from_batches(columns, self._kept(delivery))
            self._write(rows, delivery, mode="overwrite", schema_mode="overwrite")
            return
        if delivery.parts:
            self._merge(table, delivery)
        if self.held() != delivery.generation:  # a merge that changes nothing commits nothing
            nothing = pa.schema(table.schema().to_arrow()).empty_table()
            self._write(nothing, delivery, mode="append")

    def clean(self, delivery: Delivery) -> None:
        """Join small files, and remove those of versions older than the table keeps (a week)."""
        table = self._table()
        if table is not None:
            table.optimize.compact()
            table.vacuum(dry_run=False)

    def _write(self, rows: pa.Table | pa.RecordBatchReader, delivery: Delivery, **how: str) -> None:
        self._library.write_deltalake(
            self.settings.path,
            rows,
            storage_options=_options(),
            commit_properties=self._commit(delivery),
            **how,
        )

    def _merge(self, table: Any, delivery: Delivery) -> None:
        columns = row_schema(delivery).append(pa.field(CHANGE, pa.string()))
        merge = table.merge(
            pa.RecordBatchReader.from_batches(columns, self._changed(delivery)),
            _SAME,
            source_alias="s",
            target_alias="t",
            commit_properties=self._commit(delivery),
        )
        gone = f"s.{CHANGE} = '{GONE}'"
        stays = f"s.{CHANGE} <> '{GONE}'"
        merge = merge.when_matched_delete(gone)
        merge = merge.when_matched_update_all(stays, except_cols=[CHANGE])
        merge.when_not_matched_insert_all(stays, except_cols=[CHANGE]).execute()

    def _kept(self, delivery: Delivery) -> Iterator[pa.RecordBatch]:
        for number in sorted(self._parts):
            yield from kept_rows(self._parts[number].rows(), delivery).to_batches()

    def _changed(self, delivery: Delivery) -> Iterator[pa.RecordBatch]:
        for number in sorted(self._parts):
            rows = self._parts[number].rows()
            table = all_rows(rows, delivery)
            yield from table.append_column(CHANGE, rows[CHANGE]).to_batches()

    def _reshaped(self, table: Any, delivery: Delivery) -> bool:
        there = pa.schema(table.schema().to_arrow())
        wanted = pa.schema(self._library.Schema.from_arrow(row_schema(delivery)).to_arrow())
        return reshaped(there, wanted, delivery, feed=self.name, target=self.settings.path)

    def _commit(self, delivery: Delivery) -> Any:
        return self._library.CommitProperties(
            custom_metadata={"run_id": delivery.run_id, "date": delivery.date},
            app_transactions=[self._library.Transaction(APPLICATION, delivery.generation)],
        )

    def _table(self) -> Any:
        """The newest version; None where there is no table."""
        if not self._library.DeltaTable.is_deltatable(self.settings.path, _options()):
            return None
        return self._library.DeltaTable(self.settings.path, storage_options=_options())

    @property
    def _library(self) -> Any:
        return library("deltalake", extra="delta", needed_by=f"feed '{self.name}'")


def _options() -> dict[str, str] | None:
    """What ``deltalake`` does not find in the environment by itself."""
    http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {"AWS_ALLOW_HTTP": "true"} if http else None
