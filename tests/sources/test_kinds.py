from __future__ import annotations

import io
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pytest

from pipeline.errors import InputContractError
from pipeline.sources.kinds import format_of, refuse_forced

RUN = b"q1 Q0 d1 1 12.5 bm25\nq1 Q0 d2 2 11 bm25\n"


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"PAR1....", "x", "parquet"),
        (RUN, "run.txt", "trec"),
        (b"\xef\xbb\xbf" + RUN, "run.txt", "trec"),
        (b"q1\tQ0\td1\t1\t12.5\tbm25\r\n", "x.tsv", "trec"),
        (b"q1   Q0\t d1 1 -1e-3 tag\n", "x", "trec"),
        (b"not a line\n" + 3 * RUN, "x", "trec"),
        (b"q1\td1\t1\n", "x", "tsv"),
        (b"q1\td1\twhat, then\ta passage, with commas\n", "x", "tsv"),
        (b"a,b\n1,2\n", "x", "csv"),
        (b'id,text\n1,"a\tb"\n', "x.csv", "csv"),
        (b'doc_id,text,"a\tb"\n', "x.csv.gz", "csv"),
        (b'{"_id": "1", "text": "x"}\n', "x", "jsonl"),
        (b'\n\n{"_id": "1"}', "x", "jsonl"),
        (b'{"_id": "a b 12 3.5 c"}\n', "x", "jsonl"),
        (b'{"_id": "cut off', "x", "jsonl"),
        (b"{broken, no json}\n", "x", "jsonl"),
        (b"{x}\ta query\n", "x", "tsv"),
        (b"PAR1\x15\x04" + RUN, "x", "parquet"),
    ],
)
def test_formats_are_told_by_content(head: bytes, name: str, kind: str) -> None:
    assert format_of(head, name) == kind


@pytest.mark.parametrize(
    "query_id",
    [
        "{",
        '{"a":1}',
        "{}",
        "[",
        "[1]",
        "<html>",
        "<DOC>",
        "PAR1",
        "PARE",
        "ORC",
        "BZh9",
        "ARROW1",
        '"',
    ],
)
@pytest.mark.parametrize("gap", [" ", "\t"])
def test_the_first_id_of_a_run_may_begin_like_another_format(query_id: str, gap: str) -> None:
    head = gap.join([query_id, "Q0", "d", "1", "2.5", "tag"]).encode()
    assert format_of(head, "x") == "trec"
    refuse_forced("trec", head, "x")


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("x", "y")
    return data.getvalue()


def tarred() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return data.getvalue()


def feather() -> bytes:
    data = io.BytesIO()
    pyarrow.feather.write_feather(pa.table({"x": [1]}), data)
    return data.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as opened:
        opened.execute("create table x (y)")
    opened.close()
    return (folder / "x.db").read_bytes()


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    for head, told in (
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n \n", "the file is empty"),
        (zipped(), "this is a zip archive; unpack it"),
        (tarred(), "this is a tar archive; unpack it"),
        (feather(), "this is an Arrow IPC (Feather) file"),
        (database(tmp_path), "this is an SQLite database"),
        (b"PARE\x00", "this is encrypted Parquet"),
        (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file"),
        (b"\x93NUMPY\x01", "this is a NumPy file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "this is HTML or XML"),
        (b'<?xml version="1.0"?>', "this is HTML or XML"),
        (b"<DOC>\n<DOCNO>1</DOCNO>", "TREC collection in SGML"),
        (b'[{"_id": 1}]', "a JSON array"),
        (b'{\n  "_id": 1\n}', "a JSON document over several lines"),
        ("{}".encode("utf-16"), "text in UTF-16"),
        (bytes(range(256)) * 16, "this is binary"),
        (b"just some words\n", "this is text, but neither"),
    ):
        with pytest.raises(InputContractError, match=r"x\.bin") as raised:
            format_of(head, "x.bin")
        assert told in str(raised.value)


@pytest.mark.parametrize("wanted", ["trec", "tsv", "csv", "jsonl", "parquet"])
def test_a_forced_format_that_does_not_fit_shows_the_first_line(wanted: str) -> None:
    with pytest.raises(InputContractError, match="words and no more"):
        refuse_forced(wanted, b"words and no more\n", "x")  # type: ignore[arg-type]
    with pytest.raises(InputContractError, match=r"is trec, but this is Parquet"):
        refuse_forced("trec", b"PAR1", "x")


def test_a_run_named_parquet_says_that_it_is_a_run() -> None:
    with pytest.raises(InputContractError, match=r"format is parquet, but this is a TREC run"):
        refuse_forced("parquet", RUN, "x")
