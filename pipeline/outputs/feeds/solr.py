"""Solr: JSON updates, visible with one commit.

A row that is new is added; one that changed is an atomic update, every field ``set``; one that is
gone is deleted by id. Atomic updates need the update log, and fields that are stored or have
docValues, as the guide says ("Partial Document Updates").

Nothing is seen before the commit that ends a delivery, and then all of it: within one core at once,
in a collection of several shards or replicas within moments, since each opens its searcher on its
own. For that, nothing else may commit meanwhile: ``autoCommit`` with ``openSearcher=false`` is
fine, ``autoSoftCommit``, ``commitWithin`` and other writers are not. After a full load, what it did
not write is deleted by the field ``generation``, within the same commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

from pydantic import Field

from pipeline.errors import ConfigurationError, FeedError
from pipeline.outputs.feeds.support.base import GONE, NEW, Delivery
from pipeline.outputs.feeds.support.documents import GENERATION, Document, field_names, to_json
from pipeline.outputs.feeds.support.file_feed import FileFeed, FileSettings
from pipeline.outputs.feeds.support.pieces import cut
from pipeline.outputs.feeds.support.requests import JSON, Request
from pipeline.outputs.feeds.support.sending import Client

_ADD: Final = ".add.json"
_DELETE: Final = ".delete.json"
#: What stands before, between and after the operations of a file.
_FRAMES: Final = {_ADD: (b"[\n", b",\n", b"\n]\n"), _DELETE: (b'{"delete":[\n', b",\n", b"\n]}\n")}


class SolrSettings(FileSettings):
    """Settings of a feed of a collection."""

    collection: str = Field(
        pattern=r"^[A-Za-z0-9._\-]+$",
        description="Collection or core; this feed's alone. The `url` ends with `/solr`.",
    )
    id_field: str = Field(
        "id", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="The schema's `uniqueKey`."
    )


class Solr(FileFeed):
    """Documents of one collection."""

    Settings: ClassVar[type[FileSettings]] = SolrSettings
    settings: SolrSettings

    def begin(self, delivery: Delivery) -> None:
        """As every feed of files.

        Raises:
            ConfigurationError: a column has the name of the field that ids are in.
        """
        where = f"feeds.{self.name}.columns"
        if self.settings.id_field in field_names(delivery, self.settings.columns, where=where):
            raise ConfigurationError(
                f"feeds.{self.name}.id_field: '{self.settings.id_field}' is the name of a column "
                "as well; carry the column under another name, or leave it out of 'columns'"
            )
        super().begin(delivery)

    def pieces(
        self, changed: Iterator[Document], delivery: Delivery
    ) -> Iterator[tuple[str, bytes, int]]:
        """Arrays of documents, then arrays of ids to delete."""
        gone: list[bytes] = []

        def present() -> Iterator[bytes]:
            for document in changed:
                if document.change == GONE:
                    gone.append(to_json(document.id, of=document.id))
                else:
                    yield self._operation(document)

        yield from self._files(_ADD, present())
        yield from self._files(_DELETE, gone)

    def sent_as(self, ending: str) -> dict[str, Any]:
        """An update without a commit."""
        return {"method": "POST", "path": self._update(), "content_type": JSON}

    def send(self, client: Client, ending: str, data: bytes) -> None:
        """Send one update.

        Raises:
            FeedError: it was refused; then nothing of it is seen before a commit.
        """
        answer = client.send("POST", self._update(), data)
        status = ((answer.body or {}).get("responseHeader") or {}).get("status")
        if status != 0:
            raise FeedError(f"feed '{self.name}': Solr answers an update with {answer.body!r}")

    def opening(self, delivery: Delivery) -> list[Request]:
        """Before a full load, the deletion of what another publication of its number wrote."""
        if not delivery.full or not self.may_meet_others(delivery):
            return []
        others = {"delete": {"query": f"{GENERATION}:{delivery.generation}"}}
        return [self._request(others, "what another series of publications left of this number")]

    def closing(self, delivery: Delivery) -> list[Request]:
        """After a full load the deletion of what it did not write; then the commit."""
        commit = self._request({"commit": {}}, "everything is seen from here on")
        if not delivery.full:
            return [commit]
        # On both sides: another series of publications may have come further than this one.
        before, after = delivery.generation - 1, delivery.generation + 1
        others = f"{GENERATION}:[* TO {before}] OR {GENERATION}:[{after} TO *]"
        removal = {"delete": {"query": others}}
        return [self._request(removal, "what the full load did not write"), commit]

    def _update(self) -> str:
        return f"/{self.settings.collection}/update"

    def _request(self, body: dict[str, Any], why: str) -> Request:
        return Request(method="POST", path=self._update(), body=body, why=why)

    def _operation(self, document: Document) -> bytes:
        fields = (
            document.present()
            if document.change == NEW
            else {name: {"set": value} for name, value in document.fields.items()}
        )
        return to_json({self.settings.id_field: document.id, **fields}, of=document.id)

    def _files(self, ending: str, operations: Iterable[bytes]) -> Iterator[tuple[str, bytes, int]]:
        before, between, after = _FRAMES[ending]
        pieces = cut(
            operations,
            max_bytes=self.settings.max_bytes,
            max_rows=self.settings.max_rows,
            framing=len(before) + len(after),
            separator=len(between),
        )
        for piece in pieces:
            yield ending, before + between.join(piece) + after, len(piece)
