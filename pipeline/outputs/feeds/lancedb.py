"""LanceDB: every part is a version of the table, and a tag says which version is served.

Readers check out the tag ``current``. What a delivery does to the table before it moves the tag is
in versions that nobody has checked out. Beside it each generation has a tag of its own,
``generation-N``, so that the table itself says what it holds.

Reading: [serving.md](serving.md#lancedb).
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import FeedError
from pipeline.extras import library
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.row_table import (
    KEYS,
    all_rows,
    expect_base,
    reshaped,
    row_schema,
)

#: Tag of the version that is served.
CURRENT: Final = "current"
_GENERATION: Final = "generation-"
_LOADING: Final = "loading-"
_WEEK: Final = timedelta(days=7)
_NEVER: Final = timedelta(days=36_500)


class LancedbSettings(Settings):
    """Where the table lies."""

    path: str = Field(
        min_length=1,
        description="Folder of the database, local or a URI that LanceDB knows (s3://, gs://, "
        "az://); credentials come from the environment.",
    )
    table: str = Field(
        "rankings", pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="The table; made by the feed."
    )


class LancedbFeed(Feed):
    """Merges the parts, and moves a tag to the last version."""

    Settings = LancedbSettings

    def __init__(self, settings: LancedbSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._opened: Any = None

    def held(self) -> int | None:
        """The generation whose tag is on the version that is served."""
        table = self._table()
        if table is None:
            return None
        tags = _versions(table)
        served = tags.get(CURRENT)
        # Generations without a change between them are one version: the last of them counts.
        return max(
            (int(tag.removeprefix(_GENERATION)) for tag, version in tags.items()
             if tag.startswith(_GENERATION) and version == served),
            default=None,
        )  # fmt: skip

    def keeps(self, delivery: Delivery) -> bool:
        """Whether the newest versions are this delivery's."""
        table = self._table()
        return table is not None and _loading(delivery) in _versions(table)

    def begin(self, delivery: Delivery) -> None:
        """Take back what another attempt did, or start from nothing; tag that it is under way."""
        table = self._table()
        held = self.held()
        expect_base(held, delivery, feed=self.name, target=self._where)
        if delivery.resumed:
            return
        columns = row_schema(delivery)
        if table is None:
            table = self._database().create_table(self.settings.table, schema=columns)
        else:
            self._refuse_others(table)
            for tag in _versions(table):
                if tag.startswith(_LOADING):
                    table.tags.delete(tag)
            if delivery.full or reshaped(
                table.schema, columns, delivery, feed=self.name, target=self._where
            ):
                table = self._database().create_table(
                    self.settings.table, schema=columns, mode="overwrite"
                )
            elif table.version != _versions(table)[CURRENT]:
                table.checkout(CURRENT)
                table.restore()
        self._opened = table
        table.tags.create(_loading(delivery), table.version)

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Merge a part: rows that are gone come in without a rank, and are deleted as such."""
        rows = all_rows(part.rows(), delivery)
        table = self._table()
        if rows.num_rows:
            merge = table.merge_insert(list(KEYS))
            merge.when_matched_update_all().when_not_matched_insert_all().execute(rows)
        if rows["rank"].null_count:
            table.delete("rank IS NULL")

    def switch(self, delivery: Delivery) -> None:
        """Tag the newest version as the generation, then as the one that is served."""
        table = self._table()
        if self.held() == delivery.generation and not self.keeps(delivery):
            return
        expect_base(self.held(), delivery, feed=self.name, target=self._where)
        # Small files are joined, and indices that the table has take in the new rows.
        table.optimize(cleanup_older_than=_NEVER)
        version = table.version
        _tag(table, f"{_GENERATION}{delivery.generation}", version)
        _tag(table, CURRENT, version)

    def clean(self, delivery: Delivery) -> None:
        """Remove the tags but of this generation and its base, and versions from before a week.

        LanceDB refuses to remove any where one that has a tag is as old.
        """
        table = self._table()
        kept = {f"{_GENERATION}{number}" for number in (delivery.generation, delivery.base)}
        for tag in _versions(table):
            if tag != CURRENT and tag not in kept:
                table.tags.delete(tag)
        tagged = set(_versions(table).values())
        made = [each["timestamp"] for each in table.list_versions() if each["version"] in tagged]
        oldest = datetime.now() - min(made)  # to a day: the library's times have no zone
        table.optimize(cleanup_older_than=max(_WEEK, oldest + timedelta(days=2)))

    def close(self) -> None:
        """Let go of the table."""
        self._opened = None

    @property
    def _where(self) -> str:
        return f"table '{self.settings.table}' of {self.settings.path}"

    def _database(self) -> Any:
        lancedb = library("lancedb", extra="lancedb", needed_by=f"feed '{self.name}'")
        http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        options = {"allow_http": "true"} if http else None
        return lancedb.connect(self.settings.path, storage_options=options)

    def _table(self) -> Any:
        """The table at its newest version; None where it is not there."""
        if self._opened is None:
            try:
                self._opened = self._database().open_table(self.settings.table)
            except ValueError as error:
                if "was not found" not in str(error):
                    raise
        return self._opened

    def _refuse_others(self, table: Any) -> None:
        tags = _versions(table)
        if CURRENT not in tags and not any(tag.startswith(_LOADING) for tag in tags):
            raise FeedError(
                f"feed '{self.name}': there is a {self._where} that no feed made; its rows would "
                f"be replaced. Drop it, or let feeds.{self.name}.table name another"
            )


def _loading(delivery: Delivery) -> str:
    return f"{_LOADING}{delivery.generation}-from-{delivery.base}"


def _versions(table: Any) -> dict[str, int]:
    return {tag: found["version"] for tag, found in table.tags.list().items()}


def _tag(table: Any, tag: str, version: int) -> None:
    """Put a tag on a version, wherever it is now."""
    if tag in _versions(table):
        table.tags.update(tag, version)
    else:
        table.tags.create(tag, version)
