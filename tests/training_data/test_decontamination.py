from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputContractError, NotFoundError
from pipeline.training_data.decontamination import read_evaluation_queries


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.tsv", "1\tzip files\n2\tlist\tsort\n"),
        ("q.tsv", "\ufeffquery_id\tquery\r\n1\tzip files\r\n\r\n2\tlist\tsort"),
        ("q.jsonl", '{"_id": 1, "text": "zip files"}\n{"qid": "2", "query": "list\\tsort"}\n'),
    ],
)
def test_text_forms(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found = [(one.query_id, one.text) for one in read_evaluation_queries(str(path))]
    assert found == [("1", "zip files"), ("2", "list\tsort")]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"qid": [7, 8], "question": ["zip files", None]}), path)
    (found,) = read_evaluation_queries(str(path))
    assert (found.file, found.query_id, found.text) == (str(path), "7", "zip files")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.tsv", b"no tab here\n", "line 1: expected 'query_id<tab>text'"),
        ("q.tsv", b"", "no evaluation query found"),
        ("q.tsv", b"1\t\xff\n", "expected UTF-8"),
        ("q.jsonl", b"{\n", "line 1: not JSON"),
        ("q.jsonl", b'{"title": "x"}\n', "line 1: expected an object with one of query"),
        ("q.jsonl", b"[1]\n", "line 1: expected an object"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputContractError, match=message):
        read_evaluation_queries(str(path))


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_evaluation_queries(str(tmp_path / "none.tsv"))
    path = tmp_path / "q.parquet"
    pq.write_table(pa.table({"title": ["x"]}), path)
    with pytest.raises(InputContractError, match="columns found: title"):
        read_evaluation_queries(str(path))
