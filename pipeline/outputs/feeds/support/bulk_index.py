"""What Elasticsearch and OpenSearch have in common, which is all that a feed needs.

A full load goes into a new index ``<alias>-<generation>``, and so does a delta with ``deltas:
clone``: the index that readers see is cloned, which links its segments and copies nothing, the
changes are applied to the clone, and the alias is switched from the one to the other in one step.
So whoever reads through the alias sees one generation whole. The index before stays until the
next switch, for readers that have begun.

With ``deltas: in_place`` changes are applied to the index that the alias names: no second index,
but readers see documents of two generations while a delta is applied.

The mapping's ``_meta`` says which generation an index holds, so the engine itself is asked.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, Literal

import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.errors import FeedError
from pipeline.outputs.feeds.support.base import GONE, Delivery
from pipeline.outputs.feeds.support.documents import (
    GENERATION,
    Document,
    field_names,
    to_json,
)
from pipeline.outputs.feeds.support.file_feed import FileFeed, FileSettings, failed
from pipeline.outputs.feeds.support.pieces import cut
from pipeline.outputs.feeds.support.requests import Request
from pipeline.outputs.feeds.support.sending import LONGEST_WAIT_S, Client, RefusedError

ENDING: Final = ".ndjson"
NDJSON: Final = "application/x-ndjson"
#: Only what is looked at, which keeps answers small.
_BULK: Final = "/_bulk?filter_path=errors,items.*.status,items.*._id,items.*.error"

#: Key of a mapping's ``_meta``.
META: Final = "rerank"

#: Longest text that is indexed: Lucene's terms hold 32,766 bytes, and a character up to 4.
_IGNORE_ABOVE: Final = 8_191

_COPIED: Final = ("number_of_replicas", "auto_expand_replicas")


class BulkSettings(FileSettings):
    """Settings of a feed of an index."""

    alias: str = Field(
        # Names of indexes as both engines take them.
        pattern=r"^[a-z0-9][a-z0-9._\-]{0,199}$",
        description="Alias that readers use; indexes are `<alias>-<generation>`.",
    )
    deltas: Literal["clone", "in_place"] = Field(
        "clone",
        description="Where changes go: into a clone of the index, so that the alias shows one "
        "generation whole, or `in_place`, into the index that readers see.",
    )
    index_settings: dict[str, Any] = Field(
        default_factory=dict,
        description="Settings of new indexes, as the engine names them, such as "
        "`number_of_shards`.",
    )


class BulkIndex(FileFeed):
    """Bulk files of one alias."""

    Settings: ClassVar[type[FileSettings]] = BulkSettings
    settings: BulkSettings

    def held(self) -> int | None:
        """The generation of the index that the alias names, as its mapping says."""
        if not self.sends:
            return super().held()
        seen = self._seen()
        return None if seen is None else int(seen[1]["generation"])

    def keeps(self, delivery: Delivery) -> bool:
        """Whether the index that the parts went into is there, begun by this very delivery."""
        if not self.folder.has_opening(delivery.generation):
            return False
        if not self.sends or self._in_place(delivery):
            return True
        found = self._indexes().get(self._index(delivery), {})
        return {**found, "whole": False} == self._meta(delivery, whole=False)

    def chosen(self, delivery: Delivery) -> dict[str, Any]:
        """The name of the index: another one than that which readers see now."""
        name = f"{self.settings.alias}-{delivery.generation}"
        return {"index": f"{name}-again" if name in self._shown() else name}

    def opening(self, delivery: Delivery) -> list[Request]:
        """The new index: empty, or a clone of the one that readers see."""
        if self._in_place(delivery):
            return []
        index = self._index(delivery)
        meta = {"_meta": {META: self._meta(delivery, whole=False)}}
        remove = _removal(index, "left by an attempt that failed")
        if delivery.full:
            body = {"mappings": {**meta, "properties": self._fields(delivery)}}
            if self.settings.index_settings:
                body["settings"] = self.settings.index_settings
            return [remove, Request(method="PUT", path=f"/{index}", body=body, why="a new index")]
        base = self._base_index()
        copied = {k: v for k, v in self.settings.index_settings.items() if k in _COPIED}
        clone: dict[str, Any] = {"settings": copied} if copied else {}
        health = f"/_cluster/health/{index}?wait_for_status=yellow&timeout=60s"
        return [
            remove,
            _setting(base, True, "an index that is cloned must not be written to"),
            Request(method="PUT", path=f"/{base}/_clone/{index}", body=clone, why="a clone"),
            Request(method="GET", path=health, why="until the clone can be written to"),
            _setting(index, None, "the clone has the block of its source"),
            _mapping(index, meta, "which delivery the clone is for"),
        ]

    def pieces(
        self, changed: Iterator[Document], delivery: Delivery
    ) -> Iterator[tuple[str, bytes, int]]:
        """Bulk operations: an action in a line, and for what is indexed the document in another."""
        into: dict[str, Any] = {"_index": self._index(delivery)}
        if self._in_place(delivery):
            into = {"_index": self.settings.alias, "require_alias": True}
        limits = {"max_bytes": self.settings.max_bytes, "max_rows": self.settings.max_rows}
        for piece in cut((_operation(one, into) for one in changed), **limits):
            yield ENDING, b"".join(piece), len(piece)

    def sent_as(self, ending: str) -> dict[str, Any]:
        """A bulk request."""
        return {"method": "POST", "path": "/_bulk", "content_type": NDJSON}

    def send(self, client: Client, ending: str, data: bytes) -> None:
        """Send a bulk request; operations for which the engine was busy are sent again.

        Raises:
            FeedError: an operation was refused; names its document, and what was said.
        """
        operations = _split(data)
        for attempt in range(self.settings.attempts):
            answer = client.send("POST", _BULK, b"".join(operations), content_type=NDJSON)
            operations = self._refused(operations, answer.body)
            if not operations:
                return
            wait_s = min(LONGEST_WAIT_S, self.settings.backoff_s * 2**attempt)
            time.sleep(wait_s * random.uniform(0.5, 1.0))
        raise FeedError(
            f"feed '{self.name}': {len(operations)} documents were refused with status 429 "
            f"{self.settings.attempts} times; raise attempts, or lower max_rows"
        )

    def closing(self, delivery: Delivery) -> list[Request]:
        """What makes the index searchable, says what it holds, and moves the alias."""
        index = self._base_index() if self._in_place(delivery) else self._index(delivery)
        meta = {"_meta": {META: self._meta(delivery, whole=True)}}
        requests = [
            Request(method="POST", path=f"/{index}/_refresh", why="documents become searchable"),
            _mapping(index, meta, "which generation the index holds"),
        ]
        if self._in_place(delivery):
            return requests
        alias = self.settings.alias
        actions: list[dict[str, Any]] = [
            {"remove": {"index": name, "alias": alias}} for name in self._shown() if name != index
        ]
        actions.append({"add": {"index": index, "alias": alias}})
        switch = Request(
            method="POST", path="/_aliases", body={"actions": actions}, why="the alias is switched"
        )
        return [*requests, switch, *self._retired(delivery)]

    def show(self, closing: Sequence[Request]) -> None:
        """Ask for it; an alias that was moved although the answer was lost is no failure."""
        for request in closing:
            try:
                self.client.ask(request)
            except RefusedError as error:
                [*_, last] = request.body["actions"] if request.path == "/_aliases" else [{}]
                if error.status != 404 or "add" not in last:
                    raise
                seen = self._seen()
                if seen is None or seen[0] != last["add"]["index"]:
                    raise

    def state(self, delivery: Delivery) -> dict[str, Any]:
        """The index that the alias names now, and that of before."""
        current = self.folder.current() or {}
        if self._in_place(delivery):
            return {"index": self._base_index(), "before": current.get("before")}
        shown = [name for name in self._shown_by_files() if name != self._index(delivery)]
        return {"index": self._index(delivery), "before": shown[0] if shown else None}

    # Which index it is

    def _in_place(self, delivery: Delivery) -> bool:
        return self.settings.deltas == "in_place" and not delivery.full

    def _index(self, delivery: Delivery) -> str:
        return str(self.folder.opening(delivery.generation)["chosen"]["index"])

    def _base_index(self) -> str:
        """The index that the alias names."""
        shown = self._shown()
        if not shown:
            raise FeedError(
                f"feed '{self.name}': alias '{self.settings.alias}' names no index any more; run "
                "`rerank feed --full`"
            )
        return shown[0]

    def _shown(self) -> list[str]:
        """The index that the alias names, asked of the engine where files are sent."""
        if not self.sends:
            return self._shown_by_files()
        seen = self._seen()
        return [] if seen is None else [seen[0]]

    def _shown_by_files(self) -> list[str]:
        current = self.folder.current()
        return [] if current is None else [str(current["index"])]

    def _retired(self, delivery: Delivery) -> list[Request]:
        """Removal of what was shown before the index that is shown now."""
        kept = {self._index(delivery), *self._shown()}
        if self.sends:
            names = [name for name in self._indexes() if name not in kept]
        else:
            before = (self.folder.current() or {}).get("before")
            names = [before] if before and before not in kept else []
        return [_removal(name, "nobody reads it any more") for name in sorted(names)]

    def _seen(self) -> tuple[str, dict[str, Any]] | None:
        """The index that the alias names, and what its mapping says of it; None: no such alias."""
        alias = self.settings.alias
        answer = self.client.send("GET", f"/{alias}/_mapping", accept=(404,))
        if answer.status == 404:
            return None
        found = {name: _meta_of(about) for name, about in answer.body.items()}
        [(name, meta), *others] = found.items()
        if others or not meta or name == alias:
            raise FeedError(
                f"feed '{self.name}': '{alias}' stands for {', '.join(sorted(found))}, which this "
                "feed did not make; give the feed an alias of its own"
            )
        return name, meta

    def _indexes(self) -> dict[str, dict[str, Any]]:
        """Indexes that this feed made, whole or not, and what their mappings say."""
        answer = self.client.send("GET", f"/{self.settings.alias}-*/_mapping", accept=(404,))
        found = {} if answer.status == 404 else answer.body
        ours = re.compile(rf"{re.escape(self.settings.alias)}-[0-9]+(-again)?")
        metas = {name: _meta_of(about) for name, about in found.items() if ours.fullmatch(name)}
        return {name: meta for name, meta in metas.items() if meta}

    def _meta(self, delivery: Delivery, *, whole: bool) -> dict[str, Any]:
        about = {"generation": delivery.generation, "base": delivery.base, "whole": whole}
        return {**about, "run_id": delivery.run_id, "date": delivery.date}

    def _fields(self, delivery: Delivery) -> dict[str, Any]:
        where = f"feeds.{self.name}.columns"
        names = field_names(delivery, self.settings.columns, where=where)
        types = {name: _field(delivery.type_of(name)) for name in names}
        types[schema.SCORE] = {"type": "float"}
        types[GENERATION] = {"type": "long"}
        return {name: kind for name, kind in types.items() if kind is not None}

    def _refused(self, operations: list[bytes], body: Any) -> list[bytes]:
        """The operations for which the engine was busy."""
        if not isinstance(body, dict) or "errors" not in body:
            raise FeedError(f"feed '{self.name}': the answer to a bulk request is none: {body!r}")
        if not body["errors"]:
            return []
        results = [next(iter(item.items())) for item in body["items"]]
        wrong = [
            (operation, result)
            for operation, (action, result) in zip(operations, results, strict=True)
            if result["status"] >= 300 and (action, result["status"]) != ("delete", 404)
        ]
        final = [result for _, result in wrong if result["status"] != 429]
        if final:
            error = final[0].get("error") or {}
            cause = (error.get("caused_by") or {}).get("reason", "")
            why = f"{error.get('type')}: {error.get('reason')} {cause}".strip()
            raise failed(self.name, str(final[0].get("_id")), why, len(final) - 1)
        return [operation for operation, _ in wrong]


def _operation(document: Document, into: dict[str, Any]) -> bytes:
    about = {**into, "_id": document.id}
    if document.change == GONE:
        return to_json({"delete": about}, of=document.id) + b"\n"
    action = to_json({"index": about}, of=document.id)
    return action + b"\n" + to_json(document.present(), of=document.id) + b"\n"


def _split(data: bytes) -> list[bytes]:
    """The operations of a bulk body: one or two lines each."""
    lines = iter(data.splitlines(keepends=True))
    return [line if line.startswith(b'{"delete"') else line + next(lines) for line in lines]


def _meta_of(about: Any) -> dict[str, Any]:
    meta: dict[str, Any] = about.get("mappings", {}).get("_meta", {}).get(META, {})
    return meta


def _removal(index: str, why: str) -> Request:
    return Request(method="DELETE", path=f"/{index}", accept=(404,), why=why)


def _setting(index: str, blocked: bool | None, why: str) -> Request:
    body = {"index.blocks.write": blocked}
    return Request(method="PUT", path=f"/{index}/_settings", body=body, why=why)


def _mapping(index: str, meta: dict[str, Any], why: str) -> Request:
    return Request(method="PUT", path=f"/{index}/_mapping", body=meta, why=why)


def _field(kind: pa.DataType) -> dict[str, Any] | None:
    """How a column is mapped; None: the engine finds out."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _field(kind.value_type)  # any field may hold several values
    for test, name in _TYPES:
        if test(kind):
            above = {"ignore_above": _IGNORE_ABOVE} if name == "keyword" else {}
            return {"type": name, **above}
    return None


_TYPES: Final = (
    (pa.types.is_string, "keyword"),
    (pa.types.is_large_string, "keyword"),
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_uint64, "unsigned_long"),
    (pa.types.is_integer, "long"),
    (pa.types.is_floating, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "date"),
)
