"""Files of values by key, loaded as docs/feeds.md says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.outputs.feeds.key_value import KeyValueFeed, KeyValueSettings
from tests.outputs.feeds import store_contract as contract
from tests.outputs.feeds.random_nights import Document, Job, Nights


class Target(contract.Target):
    """A folder, and what a loader makes of all that it was handed over."""

    def __init__(self, path: Path) -> None:
        self.path = path / "feed"

    def make(self) -> KeyValueFeed:
        return KeyValueFeed(KeyValueSettings(path=str(self.path), max_rows=2), name="files")

    def served(self, queries: Iterable[Any]) -> tuple[int | None, contract.Served]:
        if not (self.path / "current.json").exists():
            return None, {}
        current = json.loads((self.path / "current.json").read_text())
        loaded: contract.Served = {}
        for folder in self.chain(current):
            manifest = json.loads((folder / "manifest.json").read_text())
            if manifest["full"]:
                loaded = {}
            for file in manifest["files"]:
                data = (folder / file["name"]).read_bytes()
                assert hashlib.sha256(data).hexdigest() == file["sha256"]
                self.load(data, loaded)
        return current["generation"], loaded

    def chain(self, current: dict[str, Any]) -> list[Path]:
        """The folders from the last full load on."""
        folders: list[Path] = []
        generation: int | None = current["generation"]
        while generation is not None:
            folders.insert(0, self.path / f"{generation:09d}")
            generation = json.loads((folders[0] / "manifest.json").read_text())["base"]
        return folders

    def load(self, data: bytes, loaded: contract.Served) -> None:
        lines = data.split(b"\n")
        assert lines.pop() == b""
        for line in map(json.loads, lines):
            loaded.pop(line["query_id"], None)
            if not line.get("gone"):
                scores = pa.array(line["scores"], pa.float32()).to_pylist()
                loaded[line["query_id"]] = list(zip(line["doc_ids"], scores, strict=True))

    def rows(self, documents: Iterable[Document]) -> list[tuple[Any, ...]]:
        return [(document.doc_id, document.score) for document in documents]


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
def test_every_night_is_a_full_load(tmp_path: Path, ids: pa.DataType) -> None:
    contract.every_night_is_a_full_load(Target(tmp_path), ids)


def test_a_full_load_replaces_what_was_there(tmp_path: Path) -> None:
    contract.a_full_load_replaces(Target(tmp_path))


@pytest.mark.parametrize("full", [False, True], ids=["delta", "full"])
def test_killed_anywhere(tmp_path: Path, full: bool) -> None:
    folders = (tmp_path / str(number) for number in range(100))
    contract.killed_anywhere(lambda: Target(next(folders)), full=full)


def test_lines_read_as_they_are_documented(tmp_path: Path) -> None:
    target = Target(tmp_path)
    nights = Nights(0)
    job = Job(nights, target.make)
    table = {"é": (Document("a", 0.1, (None,) * 4), Document("b", None, (None,) * 4))}
    job.run(nights.parts({}, table, 1), 1, None)
    job.run(nights.parts(table, {}, 1), 2, 1)
    written = [path.read_text() for path in sorted(target.path.glob("*/*.jsonl"))]
    assert written == [
        '{"query_id":"é","doc_ids":["a","b"],"scores":[0.1,null]}\n',
        '{"query_id":"é","gone":true}\n',
    ]
