from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.distillation.rules.decontamination import read_evaluation_queries
from pipeline.errors import InputContractError


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
    found = [
        (one.query_id, one.text) for one in read_evaluation_queries(path.read_bytes(), str(path))
    ]
    assert found == [("1", "zip files"), ("2", "list\tsort")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.tsv", b"no tab here\n", "line 1: expected 'query_id<tab>text'"),
        ("q.tsv", b"", "no evaluation query found"),
        ("q.tsv", b"1\t\xff\n", "expected UTF-8"),
        ("q.jsonl", b"{\n", "line 1: not JSON"),
        ("q.jsonl", b'{"title": "x"}\n', "line 1: expected an object with one of query"),
        ("q.jsonl", b"[1]\n", "line 1: expected an object"),
        ("q.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("q.jsonl", b'{"_id": ' + b"1" * 5_000 + b', "text": "x"}', "line 1: not JSON"),
        ("q.jsonl", b'{"_id": [1], "text": "x"}\n', r"line 1: .* as id, found \[1\]"),
        ("q.jsonl", b'{"_id": 1.0, "text": "x"}\n', "line 1: .* as id, found 1.0"),
        ("q.jsonl", b'{"text": "x \\ud800"}\n', "line 1: half of a surrogate pair"),
        ("q.jsonl", b'{"_id": "\\udfff", "text": "x"}\n', "line 1: half of a surrogate pair"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputContractError, match=message):
        read_evaluation_queries(path.read_bytes(), str(path))
