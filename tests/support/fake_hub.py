"""A model hub on loopback: branches, commits and files as the hub's HTTP interface gives them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class FakeHub:
    """Repositories, each with commits (a folder of files) and branches.

    Attributes:
        endpoint: for ``HF_ENDPOINT``.
        commits: folder by repository and commit.
        branches: commit by repository and branch.
        asked: method and path of every request, in order.
    """

    endpoint: str = ""
    commits: dict[tuple[str, str], Path] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def publish(self, repo: str, folder: Path, *, branch: str = "main") -> str:
        """Make a folder a commit, and a branch point at it; returns the commit."""
        commit = hashlib.sha1(f"{repo} {folder}".encode()).hexdigest()
        self.commits[repo, commit] = folder
        self.branches[repo, branch] = commit
        return commit

    def at(self, repo: str, revision: str) -> str | None:
        """The commit of a branch or a commit; None: not known."""
        commit = self.branches.get((repo, revision), revision)
        return commit if (repo, commit) in self.commits else None


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that runs until the block ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            found = _file(hub, path) or _listing(hub, path)
            if found is None:
                data, headers, status = b"{}", {"X-Error-Code": "RevisionNotFound"}, 404
            else:
                (data, headers), status = found, 200
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _file(hub: FakeHub, path: str) -> tuple[bytes, dict[str, str]] | None:
    """``/OWNER/NAME/resolve/REVISION/FILE``."""
    match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
    commit = match and hub.at(match[1], match[2])
    if match is None or not commit:
        return None
    file = hub.commits[match[1], commit] / match[3]
    if not file.is_file():
        return None
    data = file.read_bytes()
    etag = hashlib.sha256(data).hexdigest()
    return data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}


def _listing(hub: FakeHub, path: str) -> tuple[bytes, dict[str, str]] | None:
    """``/api/models/OWNER/NAME/revision/REVISION`` and ``.../tree/REVISION``."""
    match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path)
    commit = match and hub.at(match[1], match[3])
    if match is None or not commit:
        return None
    folder = hub.commits[match[1], commit]
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    answer: Any = {
        "id": match[1], "modelId": match[1], "sha": commit,
        "siblings": [{"rfilename": name} for name in files],
    }  # fmt: skip
    if match[2] == "tree":
        answer = [
            {"type": "file", "path": name, "size": (folder / name).stat().st_size, "oid": commit}
            for name in files
        ]
    return json.dumps(answer).encode(), {"Content-Type": "application/json"}
