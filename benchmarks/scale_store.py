"""An object store that counts its requests, and units that nobody scored.

Objects lie one after the other in one local file, so that their bytes are not in the memory that is
measured; their names are. Answers come at once: what is measured is the driver's own work.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execution.runs.unit_counts import UnitCounts
from pipeline.outputs.sealed import sealed_bytes
from pipeline.storage.backend import Backend, refuse_size
from pipeline.storage.files import FILE, FOLDER, Entry, FileIdentity
from pipeline.storage.seals import blank, sealed

#: Names that one answer to a listing holds, as S3's do.
PAGE: Final = 1_000

#: What S3 Standard asks for 1,000 requests in us-east-1, in US dollars, from memory: look yours up
#: at https://aws.amazon.com/s3/pricing. Deleting costs nothing.
PRICES: Final = {"PUT": 0.005, "LIST": 0.005, "GET": 0.0004, "HEAD": 0.0004, "DELETE": 0.0}


class CountingStore(Backend):
    """Objects in one file, with conditional writes.

    Attributes:
        requests: by kind, as an S3 client would have sent them.
    """

    def __init__(self, path: Path) -> None:
        self.requests: Counter[str] = Counter()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._end = 0
        self._places: dict[str, tuple[int, int]] = {}
        self._folders: dict[str, dict[str, bool]] = {}
        self._lock = threading.Lock()

    def stat(self, path: str) -> FileIdentity | None:
        """One HEAD."""
        self.requests["HEAD"] += 1
        place = self._places.get(path)
        return place and FileIdentity(path=path, size=place[1], version=str(place[0]))

    def is_folder(self, path: str) -> bool:
        """One LIST."""
        self.requests["LIST"] += 1
        return path.rstrip("/") in self._folders

    def find(self, folder: str) -> list[FileIdentity]:
        """Every object below a prefix."""
        prefix = folder.rstrip("/") + "/"
        found = [name for name in self._places if name.startswith(prefix)]
        self.requests["LIST"] += -(-max(1, len(found)) // PAGE)
        return [
            FileIdentity(path=name, size=self._places[name][1], version=str(self._places[name][0]))
            for name in found
        ]

    def glob(self, pattern: str, endings: tuple[str, ...]) -> list[FileIdentity]:
        """Not used by runs."""
        raise NotImplementedError

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """Names of the files and of the folders."""
        entries = self.entries(folder)
        return tuple([e.name for e in entries if e.kind == kind] for kind in (FILE, FOLDER))  # type: ignore[return-value]

    def entries(self, folder: str) -> list[Entry]:
        """A LIST for a thousand names."""
        folder = folder.rstrip("/")
        names = self._folders.get(folder, {})
        self.requests["LIST"] += -(-max(1, len(names)) // PAGE)
        return [
            Entry(name=name, kind=FILE, size=self._places[f"{folder}/{name}"][1])
            if is_file else Entry(name=name, kind=FOLDER, size=0)
            for name, is_file in names.items()
        ]  # fmt: skip

    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """A HEAD, and a GET for each read."""
        found = self.stat(path)
        return None if found is None else _Reader(self, self._bytes(path))

    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """One GET."""
        self.requests["GET"] += 1
        place = self._places.get(path)
        if place is None:
            return None
        refuse_size(path, place[1], most_bytes)
        return os.pread(self._file, place[1], place[0]), str(place[0])

    def write(self, path: str, data: bytes) -> None:
        """One PUT."""
        self.requests["PUT"] += 1
        with self._lock:
            self._put(path, data)

    def create(self, path: str, data: bytes) -> bool:
        """One PUT on condition that nothing is there."""
        self.requests["PUT"] += 1
        with self._lock:
            if path in self._places:
                return False
            self._put(path, data)
            return True

    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """One PUT on condition of a version."""
        self.requests["PUT"] += 1
        with self._lock:
            if path not in self._places or str(self._places[path][0]) != version:
                return None
            self._put(path, data)
            return str(self._places[path][0])

    def delete(self, path: str) -> None:
        """One DELETE."""
        self.requests["DELETE"] += 1
        with self._lock:
            folder, _, name = path.rpartition("/")
            if self._places.pop(path, None) is not None:
                del self._folders[folder][name]

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """Not used by runs."""
        raise NotImplementedError

    def arrow_place(self, path: str) -> tuple[Any, str]:
        """Not used by runs."""
        raise NotImplementedError

    def modified(self, folder: str) -> datetime | None:
        """Not used by runs."""
        raise NotImplementedError

    def remove_empty(self, folder: str) -> None:
        """An object store has no folders."""

    def _bytes(self, path: str) -> bytes:
        start, size = self._places[path]
        return os.pread(self._file, size, start)

    def _put(self, path: str, data: bytes) -> None:
        start, self._end = self._end, self._end + len(data)
        os.pwrite(self._file, data, start)
        self._places[path] = (start, len(data))
        folder, _, name = path.rpartition("/")
        self._folders.setdefault(folder, {})[name] = True
        while "/" in folder.partition("://")[2]:
            folder, _, name = folder.rpartition("/")
            self._folders.setdefault(folder, {}).setdefault(name, False)


class _Reader(io.BytesIO):
    """Content of which each read is a request."""

    def __init__(self, store: CountingStore, data: bytes) -> None:
        super().__init__(data)
        self._store = store

    def read(self, size: int | None = -1, /) -> bytes:
        self._store.requests["GET"] += 1
        return super().read(size)


class StubUnits:
    """Closing files of units with the counts of some documents and the hashes of their queries.

    A file is made once by the product's own writer; those of other units are the same bytes with
    another name and other hashes, sealed anew, which takes a hundredth of the time.
    """

    _UNIT: Final = "0" * 24

    def __init__(self, run_id: str, *, queries: int, documents: int) -> None:
        self.queries, self.documents = queries, documents
        self._hashes = bytes(8 * queries)
        counts = self._counts(self._UNIT, self._hashes)
        rows = pa.table({"query_id": ["q"], "doc_id": ["d"], "rank": pa.array([1], pa.int32())})
        about = {"run_id": run_id, "unit": self._UNIT, "counts": counts.to_metadata()}
        self._template = sealed_bytes(rows, about)
        self._schema = pq.ParquetFile(pa.BufferReader(self._template)).metadata.metadata[
            b"ARROW:schema"
        ]

    def file(self, unit: str) -> tuple[bytes, str]:
        """Content of the unit's closing file, and its counts as the file has them."""
        hashes = hashlib.shake_128(unit.encode()).digest(8 * self.queries)
        swaps = [
            (self._UNIT.encode(), unit.encode()),
            (base64.b64encode(self._hashes), base64.b64encode(hashes)),
        ]
        schema = base64.b64decode(self._schema)
        data = self._template
        for before, after in swaps:
            schema = schema.replace(before, after)
            data = data.replace(before, after)
        data = data.replace(self._schema, base64.b64encode(schema))
        place = data.rindex(blank().encode()[:-64])
        data = data[:place] + blank().encode() + data[place + len(blank()) :]
        return sealed(data), self._counts(unit, hashes).to_metadata()

    def _counts(self, unit: str, hashes: bytes) -> UnitCounts:
        return UnitCounts(
            unit=unit, queries=self.queries, documents=self.documents, tokens=150 * self.documents,
            query_hashes=np.frombuffer(hashes, "<u8").astype(np.uint64),
        )  # fmt: skip
