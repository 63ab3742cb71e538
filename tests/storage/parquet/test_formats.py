from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer
from pipeline.storage.store import identify

TABLE = pa.table({"x": ["a" * 50] * 20})


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.parquet", parquet())
    return sink.getvalue()


def arrow(version: int) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(TABLE, sink, version=version)
    return sink.getvalue()


def stream() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


FORMATS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tsv": (lambda: b"query_id\tdoc_id\n1\t2\n", "tab-separated text.*read_csv_auto"),
    "csv": (lambda: "query_id,doc_id\n1,ä\n".encode(), "comma-separated text"),
    "jsonl": (lambda: b'\n{"query_id": "1"}\n', "it is JSON.*read_json_auto"),
    "text": (lambda: b"1 Q0 d1 1 0.5 run\n" * 100, "it is text"),
    "html": (lambda: b"<!doctype html><title>404</title>", "HTML"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull"),
    "gzip": (lambda: gzip.compress(parquet()), "compressed with gzip.*decompress it"),
    "zip": (zipped, "a zip archive"),
    "arrow file": (lambda: arrow(2), "an Arrow IPC"),
    "arrow stream": (stream, "an Arrow IPC stream"),
    "noise": (lambda: bytes(range(256)) * 4, "no magic number"),
    "cut": (lambda: parquet()[:-20], "its footer is missing.*cut off"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_file_is_instead_of_parquet_is_said(tmp_path: Path, kind: str) -> None:
    make, message = FORMATS[kind]
    path = tmp_path / "other.parquet"
    path.write_bytes(make())
    with pytest.raises(InputContractError, match=rf"(?s)other\.parquet: .*{message}"):
        read_footer(identify(str(path)))
