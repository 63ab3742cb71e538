"""Vespa: JSON operations of its document format, a line each.

A row that is new is put; one that changed is updated field by field (``assign``), and created where
it is not there; one that is gone is removed. ``vespa feed`` reads the files as they are, and with a
``url`` each operation is a request to ``/document/v1``.

Vespa has no alias to switch: readers see each operation when it is done, so while a delivery is
under way they see documents of two generations. The field ``generation`` of a document says which
one wrote it last. After a full load, what no operation of it wrote is removed by that field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final
from urllib.parse import quote

from pydantic import Field

from pipeline.errors import FeedError, InputContractError
from pipeline.outputs.feeds.support.base import GONE, NEW, Delivery
from pipeline.outputs.feeds.support.documents import GENERATION, Document, to_json
from pipeline.outputs.feeds.support.file_feed import FileFeed, FileSettings
from pipeline.outputs.feeds.support.pieces import cut
from pipeline.outputs.feeds.support.requests import Request
from pipeline.outputs.feeds.support.sending import Client

_ENDING: Final = ".jsonl"

#: What Vespa takes for no text (``com.yahoo.text.Text.isTextCharacter``): controls but for tab and
#: line breaks, and the code points that Unicode keeps for programs' own use.
_NO_TEXT: Final = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ufdd0-\\ufddf"
    + "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(1, 17))
    + "]"
)


class VespaSettings(FileSettings):
    """Settings of a feed of a document type."""

    namespace: str = Field(
        pattern=r"^[A-Za-z0-9_\-]+$", description="Namespace of the documents' ids."
    )
    document_type: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Their type, as the schema names it; this feed's alone within the namespace.",
    )
    cluster: str = Field(
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="Content cluster that holds them; a full load removes what is left over there.",
    )


class Vespa(FileFeed):
    """Documents of one type."""

    Settings: ClassVar[type[FileSettings]] = VespaSettings
    settings: VespaSettings

    def pieces(
        self, changed: Iterator[Document], delivery: Delivery
    ) -> Iterator[tuple[str, bytes, int]]:
        """Operations, a line each.

        Raises:
            InputContractError: a text holds a character that Vespa refuses; names the document.
        """
        limits = {"max_bytes": self.settings.max_bytes, "max_rows": self.settings.max_rows}
        for piece in cut((self._operation(one) for one in changed), **limits):
            yield _ENDING, b"".join(piece), len(piece)

    def sent_as(self, ending: str) -> dict[str, Any]:
        """By Vespa's own client."""
        return {"command": "vespa feed FILE"}

    def send(self, client: Client, ending: str, data: bytes) -> None:
        """Send every operation of a file, several at once.

        Raises:
            FeedError: one of them was refused.
        """
        with ThreadPoolExecutor(self.settings.connections) as pool:
            for _ in pool.map(lambda line: self._send(client, line), data.splitlines()):
                pass

    def opening(self, delivery: Delivery) -> list[Request]:
        """Before a full load, the removal of what another publication of its number wrote."""
        if not delivery.full or not self.may_meet_others(delivery):
            return []
        why = "what another series of publications left of this number"
        return [self._removal(f"{self._generation} == {delivery.generation}", why)]

    def closing(self, delivery: Delivery) -> list[Request]:
        """After a full load, the removal of what it did not write."""
        if not delivery.full:
            return []
        # On both sides: another series of publications may have come further than this one.
        field, number = self._generation, delivery.generation
        selection = f"{field} < {number} or {field} > {number}"
        return [self._removal(selection, "what the full load did not write")]

    def ask(self, request: Request) -> None:
        """Remove in as many visits as it takes."""
        following = ""
        while True:
            answer = self.client.send(request.method, f"{request.path}{following}")
            token = (answer.body or {}).get("continuation")
            if not token:
                return
            following = f"&continuation={quote(token, safe='')}"

    @property
    def _generation(self) -> str:
        return f"{self.settings.document_type}.{GENERATION}"

    def _removal(self, selection: str, why: str) -> Request:
        path = (
            f"{self._place()}?cluster={self.settings.cluster}&selection={quote(selection, safe='')}"
        )
        why = f"{why}; again with &continuation=... until none is given"
        return Request(method="DELETE", path=path, why=why)

    def _place(self) -> str:
        return f"/document/v1/{self.settings.namespace}/{self.settings.document_type}/docid"

    def _operation(self, document: Document) -> bytes:
        name = f"id:{self.settings.namespace}:{self.settings.document_type}::{document.id}"
        _refuse_no_text(name, document.id)
        _refuse_no_text(document.fields, document.id)
        if document.change == GONE:
            content: dict[str, Any] = {"remove": name}
        elif document.change == NEW:
            content = {"put": name, "fields": document.present()}
        else:
            fields = {key: {"assign": value} for key, value in document.fields.items()}
            content = {"update": name, "create": True, "fields": fields}
        return to_json(content, of=document.id) + b"\n"

    def _send(self, client: Client, line: bytes) -> None:
        content = json.loads(line)
        [action] = {"put", "update", "remove"} & content.keys()
        document_id = content[action].split("::", 1)[1]
        path = f"{self._place()}/{quote(document_id, safe='')}"
        body = (
            to_json({"fields": content["fields"]}, of=document_id) if action != "remove" else None
        )
        method = {"put": "POST", "update": "PUT", "remove": "DELETE"}[action]
        answer = client.send(method, path + ("?create=true" if action == "update" else ""), body)
        if not isinstance(answer.body, dict) or "id" not in answer.body:
            raise FeedError(
                f"feed '{self.name}': {client.settings.url} answers {answer.status} without a "
                "document's id; is it a container with <document-api/>?"
            )


def _refuse_no_text(value: Any, document: str) -> None:
    if isinstance(value, str):
        found = _NO_TEXT.search(value)
        if found:
            raise InputContractError(
                f"document {document!r}: holds U+{ord(found[0]):04X}, which Vespa does not take "
                "for text and refuses; repair the id or column, or leave the column out of the "
                "feed's setting 'columns'"
            )
    elif isinstance(value, dict):
        for inner in value.values():
            _refuse_no_text(inner, document)
    elif isinstance(value, list):
        for inner in value:
            _refuse_no_text(inner, document)
