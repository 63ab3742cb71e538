from __future__ import annotations

import csv

import pytest

from pipeline.sources import csv_rows as module
from pipeline.sources.csv_rows import csv_rows, header_of
from pipeline.sources.raw_rows import RawRows
from pipeline.sources.streams import Block


def read(data: bytes, size: int = 1 << 20) -> list[RawRows]:
    """The records of two columns, the file's lines given in blocks of about ``size`` bytes."""
    blocks, offset = [], 0
    for line in data.splitlines(keepends=True):
        if blocks and len(blocks[-1].data or b"") < size:
            joined = (blocks[-1].data or b"") + line
            blocks[-1] = Block(offset=blocks[-1].offset, data=joined)
        else:
            blocks.append(Block(offset=offset, data=line))
        offset += len(line)
    return list(csv_rows(iter(blocks), ("a", "b"), expected="2"))


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_quoted_fields_go_over_lines_and_blocks(size: int) -> None:
    [raw] = read(b'a,b\r\n1,"x\r\ny ""z"""\r\n\r\n"2,",\xff\r\n', size)
    assert raw.columns["a"].to_pylist() == [b"1", b"2,"]
    assert raw.columns["b"].to_pylist() == [b'x\r\ny "z"', b"\xff"]
    assert raw.rows.tolist() == [1, 2]


def test_a_quote_that_is_never_closed_ends_at_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINE_BYTES", 100)
    [raw] = read(b'a,b\n1,"x\n' + b"2,y\n" * 40)
    wrong = [told for _, told in sorted(raw.faults.items())]
    assert "is a quote not closed?" in wrong[0]
    assert raw.columns["b"].to_pylist()[-1] == b"y"


def test_the_limit_of_the_process_stays_what_it_was() -> None:
    before = csv.field_size_limit()
    [raw] = read(b"a,b\n1," + b"x" * 1_000_000 + b"\n")
    assert len(raw.columns["b"][0].as_py()) == 1_000_000
    assert csv.field_size_limit() == before


def test_many_records_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 3)
    parts = read(b"a,b\n" + b"1,2\n" * 7)
    assert [part.rows.tolist() for part in parts] == [[1, 2, 3], [4, 5, 6], [7]]


def test_headers() -> None:
    assert header_of(b'"a, b", c \n') == ("a, b", "c")
    assert header_of(b'"a') == ()
