"""Files for any store of values by key: a line of JSON for each query whose list changed.

A line is ``{"query_id": ..., "doc_ids": [...], "scores": [...]}`` in rank order, a score null where
there is none; or ``{"query_id": ..., "gone": true}``. Each replaces all that the store has of the
query. ``full`` in the manifest says that queries without a line are gone as well.

Reading: [serving.md](serving.md#key_value).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from pipeline import schema
from pipeline.config import Settings
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.folder import FeedFolder
from pipeline.outputs.feeds.support.pieces import cut
from pipeline.outputs.feeds.support.ranked_lists import json_bytes, ranked_lists


class KeyValueSettings(Settings):
    """Where the files lie."""

    path: str = Field(
        min_length=1,
        description="Folder of the files, local or a URI; one feed's alone. Each generation has a "
        "folder there.",
    )
    max_bytes: int = Field(64 << 20, ge=1 << 10, description="Bytes of a file.")
    max_rows: int = Field(100_000, ge=1, description="Queries of a file.")


class KeyValueFeed(Feed):
    """Writes the files; whoever loads them removes them."""

    Settings = KeyValueSettings

    def __init__(self, settings: KeyValueSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._folder = FeedFolder(settings.path.rstrip("/"))

    def held(self) -> int | None:
        """The generation that was handed over last, as ``current.json`` says."""
        current = self._folder.current()
        return None if current is None else int(current["generation"])

    def begin(self, delivery: Delivery) -> None:
        """Remove what another attempt left."""
        if not delivery.resumed:
            self._folder.remove(delivery.generation)

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Write the files of a part."""
        pieces = cut(
            _lines(part), max_bytes=self.settings.max_bytes, max_rows=self.settings.max_rows
        )
        files = [(".jsonl", b"".join(piece), len(piece)) for piece in pieces]
        self._folder.write_part(delivery.generation, number, files)

    def switch(self, delivery: Delivery) -> None:
        """Write the manifest, then hand the generation over."""
        about = {
            "feed": self.name,
            "generation": delivery.generation,
            "base": delivery.base,
            "full": delivery.full,
            "run_id": delivery.run_id,
            "date": delivery.date,
        }
        files = self._folder.pieces(delivery.generation, delivery.parts)
        self._folder.finish(delivery.generation, {**about, "files": files})
        self._folder.hand_over(about)


def _lines(part: ChangePart) -> Iterator[bytes]:
    for query_id, ranked in ranked_lists(part.lists()):
        line = {schema.QUERY_ID: query_id, **({"gone": True} if ranked is None else ranked)}
        yield json_bytes(line) + b"\n"
