"""Feeds that are files of an engine's own format, and are sent to the engine where it has a URL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.config.base import Names
from pipeline.errors import FeedError
from pipeline.outputs.feeds.support.base import ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.documents import Document, documents, field_names
from pipeline.outputs.feeds.support.folder import FeedFolder
from pipeline.outputs.feeds.support.requests import Request
from pipeline.outputs.feeds.support.sending import Client, HttpSettings


class FileSettings(HttpSettings):
    """Settings of every feed that writes files."""

    path: str = Field(
        min_length=1,
        description="Folder of the files, local or a URI; one feed's alone. Each generation has a "
        "folder there.",
    )
    columns: Names | None = Field(
        None, description="Carried columns that documents have; null: all of them."
    )
    max_bytes: int = Field(
        8 << 20, ge=1 << 10, description="Bytes of a file, which is one request's body."
    )
    max_rows: int = Field(5_000, ge=1, description="Documents of a file.")


class FileFeed(Feed):
    """Writes a generation's files, and sends each where the settings have a ``url``."""

    #: Settings of a kind extend these.
    Settings: ClassVar[type[FileSettings]] = FileSettings
    settings: FileSettings

    # What a kind of engine says of itself

    @abstractmethod
    def pieces(
        self, changed: Iterator[Document], delivery: Delivery
    ) -> Iterator[tuple[str, bytes, int]]:
        """Ending, content and operations of each file of a part, in the order of loading."""

    @abstractmethod
    def sent_as(self, ending: str) -> dict[str, Any]:
        """How a file with this ending is loaded: what a manifest says of it."""

    @abstractmethod
    def send(self, client: Client, ending: str, data: bytes) -> None:
        """Send one file. Raises :class:`FeedError` where an operation of it failed."""

    def chosen(self, delivery: Delivery) -> dict[str, Any]:
        """What is settled when a delivery is begun, and kept in ``opening.json``; JSON."""
        return {}

    def opening(self, delivery: Delivery) -> list[Request]:
        """What is asked of the engine before the files."""
        return []

    def closing(self, delivery: Delivery) -> list[Request]:
        """What is asked of the engine after the files; the last one shows the generation."""
        return []

    def state(self, delivery: Delivery) -> dict[str, Any]:
        """What the next delivery must know of this one; JSON."""
        return {}

    # What is the same for all

    @cached_property
    def folder(self) -> FeedFolder:
        """Where the files lie."""
        return FeedFolder(self.settings.path.rstrip("/"))

    @cached_property
    def client(self) -> Client:
        """Connections to the engine; only where there is a ``url``."""
        return Client(self.settings, feed=self.name)

    @property
    def sends(self) -> bool:
        """Whether files are sent, and not only written."""
        return self.settings.url is not None

    def held(self) -> int | None:
        """The generation that was handed over last, as ``current.json`` says."""
        current = self.folder.current()
        return None if current is None else int(current["generation"])

    def begin(self, delivery: Delivery) -> None:
        """Remove what another attempt left; open the generation where files are sent."""
        field_names(delivery, self.settings.columns, where=f"feeds.{self.name}.columns")
        if delivery.resumed:
            return
        self.folder.remove(delivery.generation)
        kept: dict[str, Any] = {"chosen": self.chosen(delivery), "before": []}
        self.folder.write_opening(delivery.generation, kept)
        opening = self.opening(delivery)
        kept["before"] = [request.described() for request in opening]
        self.folder.write_opening(delivery.generation, kept)
        if self.sends:
            for request in opening:
                self.ask(request)

    def ask(self, request: Request) -> None:
        """Ask the engine for something."""
        self.client.ask(request)

    def may_meet_others(self, delivery: Delivery) -> bool:
        """Whether the engine may hold documents of this number that another publication wrote.

        Numbers begin at 1 again in another output folder. Of the publication that was handed over
        last, and of those before it, what a number stands for is known.
        """
        current = self.folder.current()
        if current is None or current["generation"] > delivery.generation:
            return True
        same = current.get("run_id") == delivery.run_id
        return bool(current["generation"] == delivery.generation) and not same

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Write the files of a part, then send them."""
        rows = part.rows()
        pieces = list(self.pieces(self.documents(rows, delivery), delivery))
        self.folder.write_part(delivery.generation, number, pieces)
        if self.sends:
            for ending, data, _ in pieces:
                self.send(self.client, ending, data)

    def documents(self, rows: pa.Table, delivery: Delivery) -> Iterator[Document]:
        """The documents of a part."""
        where = f"feeds.{self.name}.columns"
        names = field_names(delivery, self.settings.columns, where=where)
        return documents(rows, names, delivery.generation)

    def switch(self, delivery: Delivery) -> None:
        """Show the generation where files are sent; write its manifest, then hand it over."""
        closing = self.closing(delivery)
        if self.sends:
            self.show(closing)
        self.folder.finish(delivery.generation, self._manifest(delivery, closing))
        about = {"generation": delivery.generation, "base": delivery.base, "feed": self.name}
        self.folder.hand_over({**about, "run_id": delivery.run_id, **self.state(delivery)})

    def show(self, closing: Sequence[Request]) -> None:
        """Ask the engine for what shows a generation."""
        for request in closing:
            self.ask(request)

    def clean(self, delivery: Delivery) -> None:
        """Remove the files of earlier generations, once they were sent."""
        if self.sends:
            for generation in self.folder.generations():
                if generation < delivery.generation:
                    self.folder.remove(generation)

    def close(self) -> None:
        """Close connections, where there are any."""
        if "client" in self.__dict__:
            self.client.close()

    def _manifest(self, delivery: Delivery, closing: Sequence[Request]) -> dict[str, Any]:
        """What a loader needs: requests before, the files, requests after."""
        files = self.folder.pieces(delivery.generation, delivery.parts)
        for file in files:
            ending = file["name"][file["name"].index(".") :]
            file["load"] = self.sent_as(ending)
        return {
            "feed": self.name,
            "kind": type(self).__module__.rpartition(".")[2],
            "generation": delivery.generation,
            "base": delivery.base,
            "run_id": delivery.run_id,
            "date": delivery.date,
            "before": self.folder.opening(delivery.generation)["before"],
            "files": files,
            "after": [request.described() for request in closing],
        }


def failed(feed: str, document: str, why: str, more: int) -> FeedError:
    """The error for operations of a file that an engine refused."""
    others = f" ({more} more failed)" if more else ""
    return FeedError(f"feed '{feed}': document {document!r}: {why}{others}")
