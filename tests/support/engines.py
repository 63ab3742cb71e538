"""Small search engines that speak what feeds send, and remember what their readers saw.

Each takes only what the engine's documentation says that it takes, and refuses the rest. After
every request, what a reader sees is appended to ``seen``.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Documents = dict[str, dict[str, Any]]
Reply = tuple[int, Any]


class Engine:
    """Base of the engines.

    Attributes:
        seen: what readers saw after each request that was served.
        breaks_at: the number of the request, counted from now on from 1, at which the connection
            breaks; None: never.
        loses_answer: whether that request is served before.
        busy: requests that are answered with 429 first.
    """

    def __init__(self) -> None:
        self.seen: list[Documents] = []
        self.breaks_at: int | None = None
        self.loses_answer = False
        self.busy = 0
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def visible(self) -> Documents:
        raise NotImplementedError

    def serve(self, method: str, path: str, query: dict[str, str], kind: str, body: bytes) -> Reply:
        raise NotImplementedError

    def answer(self, method: str, target: str, kind: str, body: bytes) -> Reply | None:
        """What is sent back; None: the connection breaks."""
        with self._lock:
            if self.busy > 0:
                self.busy -= 1
                return 429, {"error": "busy"}
            breaks = self.breaks_at == 1
            if self.breaks_at is not None:
                self.breaks_at = None if breaks else self.breaks_at - 1
            if breaks and not self.loses_answer:
                return None
            parts = urlsplit(target)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            reply = self.serve(method, parts.path, query, kind, body)
            self.seen.append(copy.deepcopy(self.visible()))
            return None if breaks else reply


@contextmanager
def listening(engine: Engine) -> Iterator[str]:
    """Serve an engine; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            engine.headers.append(dict(self.headers))
            found = engine.answer(
                self.command, self.path, self.headers.get("Content-Type", ""), body
            )
            if found is None:
                self.close_connection = True
                return
            data = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if found[0] == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _any

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Index:
    """One index of :class:`Bulk`: what is written, and what a search sees of it."""

    def __init__(self, mappings: dict[str, Any], settings: dict[str, Any]) -> None:
        self.mappings, self.settings = mappings, settings
        self.blocked = False
        self.written: Documents = {}
        self.searchable: Documents = {}


class Bulk(Engine):
    """Elasticsearch and OpenSearch; readers search through the alias ``ranked``."""

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[str, Index] = {}
        self.aliases: dict[str, str] = {}
        self.busy_items = 0

    def visible(self) -> Documents:
        name = self.aliases.get("ranked")
        return {} if name is None else self.indexes[name].searchable

    def serve(self, method: str, path: str, query: dict[str, str], kind: str, body: bytes) -> Reply:
        if path == "/_bulk":
            return self._bulk(kind, body)
        content = json.loads(body) if body else None
        assert not body or kind == "application/json"
        if path == "/_aliases":
            return self._switch(content["actions"])
        if path.startswith("/_cluster/health/"):
            return 200, {"status": "yellow" if path.rsplit("/", 1)[1] in self.indexes else "red"}
        name, _, verb = path.strip("/").partition("/")
        if (method, verb) == ("GET", "_mapping"):
            return self._mappings(name)
        if (method, verb) == ("PUT", ""):
            if name in self.indexes:
                return 400, {"error": {"type": "resource_already_exists_exception"}}
            self.indexes[name] = Index(content["mappings"], content.get("settings", {}))
            return 200, {"acknowledged": True}
        if name not in self.indexes:
            return 404, {"error": {"type": "index_not_found_exception"}}
        index = self.indexes[name]
        if (method, verb) == ("DELETE", ""):
            del self.indexes[name]
            self.aliases = {k: v for k, v in self.aliases.items() if v != name}
        elif (method, verb) == ("PUT", "_settings"):
            [(setting, value)] = content.items()
            assert setting == "index.blocks.write"
            index.blocked = bool(value)
        elif (method, verb) == ("PUT", "_mapping"):
            index.mappings |= content
        elif (method, verb) == ("POST", "_refresh"):
            index.searchable = dict(index.written)
        elif method == "PUT" and verb.startswith("_clone/"):
            target = verb.removeprefix("_clone/")
            if not index.blocked or target in self.indexes:
                return 400, {"error": {"type": "illegal_argument_exception"}}
            made = copy.deepcopy(index)
            made.settings |= (content or {}).get("settings", {})
            self.indexes[target] = made
        else:
            raise AssertionError((method, path))
        return 200, {"acknowledged": True}

    def _mappings(self, name: str) -> Reply:
        if name.endswith("*"):
            found = {k: i for k, i in self.indexes.items() if k.startswith(name[:-1])}
        else:
            name = self.aliases.get(name, name)
            if name not in self.indexes:
                return 404, {"error": {"type": "index_not_found_exception"}}
            found = {name: self.indexes[name]}
        return 200, {key: {"mappings": index.mappings} for key, index in found.items()}

    def _switch(self, actions: list[dict[str, Any]]) -> Reply:
        aliases = dict(self.aliases)
        for action in actions:
            [(verb, about)] = action.items()
            assert set(about) == {"index", "alias"}
            if verb == "remove":
                if aliases.get(about["alias"]) != about["index"]:
                    return 404, {"error": {"type": "aliases_not_found_exception"}}
                del aliases[about["alias"]]
            else:
                assert verb == "add" and about["index"] in self.indexes
                named = aliases.get(about["alias"], about["index"])
                assert named == about["index"]  # else the alias would name two indexes
                aliases[about["alias"]] = about["index"]
        self.aliases = aliases
        return 200, {"acknowledged": True}

    def _bulk(self, kind: str, body: bytes) -> Reply:
        assert kind == "application/x-ndjson"
        assert body.endswith(b"\n")
        lines = iter(body.split(b"\n")[:-1])
        items = []
        for line in lines:
            [(action, about)] = json.loads(line).items()
            source = json.loads(next(lines)) if action == "index" else None
            status, error = self._operation(action, about, source)
            items.append({action: {"_id": about["_id"], "status": status, **error}})
        errors = any("error" in next(iter(item.values())) for item in items)
        return 200, {"took": 1, "errors": errors, "items": items}

    def _operation(self, action: str, about: dict[str, Any], source: Any) -> tuple[int, Any]:
        def refused(status: int, kind: str) -> tuple[int, Any]:
            return status, {"error": {"type": kind, "reason": f"of {about['_id']}"}}

        assert set(about) <= {"_index", "_id", "require_alias"}
        assert 0 < len(about["_id"].encode()) <= 512
        name = about["_index"]
        if about.get("require_alias") and name not in self.aliases:
            return refused(404, "index_not_found_exception")
        index = self.indexes.get(self.aliases.get(name, name))
        if index is None:
            return refused(404, "index_not_found_exception")
        if index.blocked:
            return refused(403, "cluster_block_exception")
        if self.busy_items > 0:
            self.busy_items -= 1
            return refused(429, "es_rejected_execution_exception")
        if action == "delete":
            there = index.written.pop(about["_id"], None)
            return (404 if there is None else 200), {}
        assert action == "index"
        if source.get("color") == "refused":
            return refused(400, "document_parsing_exception")
        assert None not in source.values()
        index.written[about["_id"]] = source
        return 201, {}


class VespaContainer(Engine):
    """A container with ``<document-api/>``."""

    def __init__(self) -> None:
        super().__init__()
        self.documents: Documents = {}

    def visible(self) -> Documents:
        return self.documents

    def serve(self, method: str, path: str, query: dict[str, str], kind: str, body: bytes) -> Reply:
        place = "/document/v1/serving/ranked/docid"
        if path == place:
            return self._remove_where(method, query)
        name = unquote(path.removeprefix(f"{place}/"), errors="strict")
        assert path.startswith(f"{place}/") and "/" not in path.removeprefix(f"{place}/")
        if method == "DELETE":
            self.documents.pop(name, None)
        else:
            assert kind == "application/json"
            [(key, fields)] = json.loads(body).items()
            assert key == "fields"
            if method == "POST":
                assert None not in fields.values()
                self.documents[name] = fields
            else:
                assert method == "PUT"
                self._assign(name, fields, create=query.get("create") == "true")
        return 200, {"id": f"id:serving:ranked::{name}", "pathId": path}

    def _assign(self, name: str, fields: dict[str, Any], *, create: bool) -> None:
        if name not in self.documents and not create:
            return
        document = dict(self.documents.get(name, {}))
        for field, update in fields.items():
            [(verb, value)] = update.items()
            assert verb == "assign"
            document.pop(field, None)
            if value is not None:
                document[field] = value
        self.documents[name] = document

    def _remove_where(self, method: str, query: dict[str, str]) -> Reply:
        """One document a visit, so that visits have to go on."""
        assert method == "DELETE" and query["cluster"] == "content"
        field = r"ranked\.generation"
        found = re.fullmatch(
            rf"{field} == (?P<one>\d+)|{field} < (?P<low>\d+) or {field} > (?P<high>\d+)",
            query["selection"],
        )
        assert found
        old = [k for k, d in self.documents.items() if _selected(found, d["generation"])]
        for name in old[:1]:
            del self.documents[name]
        return 200, {"pathId": "", **({"continuation": "A/A="} if len(old) > 1 else {})}


def _selected(query: re.Match[str], generation: int) -> bool:
    """Whether a removal by generation, of either engine, is of a document."""
    given = {name: int(value) for name, value in query.groupdict().items() if value is not None}
    if "one" in given:
        return generation == given["one"]
    low = given["low"] - 1 if "low" in given else given["below"]
    high = given["high"] + 1 if "high" in given else given["from"]
    return generation <= low or generation >= high


class SolrCore(Engine):
    """A core, which its readers see as of the last commit."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Documents = {}
        self.committed: Documents = {}

    def visible(self) -> Documents:
        return self.committed

    def serve(self, method: str, path: str, query: dict[str, str], kind: str, body: bytes) -> Reply:
        assert (method, path, query, kind) == ("POST", "/ranked/update", {}, "application/json")
        content = json.loads(body)
        if isinstance(content, list):
            for document in content:
                self._add(document)
        else:
            [(verb, about)] = content.items()
            if verb == "commit":
                self.committed = copy.deepcopy(self.written)
            elif isinstance(about, list):
                for name in about:
                    self.written.pop(name, None)
            else:
                assert verb == "delete"
                found = re.fullmatch(
                    r"generation:(?P<one>\d+)|"
                    r"generation:\[\* TO (?P<below>\d+)\] OR generation:\[(?P<from>\d+) TO \*\]",
                    about["query"],
                )
                assert found
                self.written = {
                    k: d for k, d in self.written.items() if not _selected(found, d["generation"])
                }
        return 200, {"responseHeader": {"status": 0, "QTime": 1}}

    def _add(self, document: dict[str, Any]) -> None:
        name = document.pop("id")
        if any(isinstance(value, dict) for value in document.values()):
            known = dict(self.written.get(name, {}))
            for field, update in document.items():
                [(verb, value)] = update.items()
                assert verb == "set"
                known.pop(field, None)
                if value is not None:
                    known[field] = value
            document = known
        self.written[name] = document
