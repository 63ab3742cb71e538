from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.fields import split_block

BYTES = st.binary(max_size=6)
NAMES = ("a", "b", "c")

#: Blanks as C's isspace has them, the end of a line left out.
BLANK = b" \t\v\f\r"


def lines_of(data: bytes) -> list[tuple[int, bytes]]:
    """Lines and where they begin, without their ends; what follows the last end, where it is."""
    found, start = [], 0
    for line in data.split(b"\n"):
        found.append((start, line))
        start += len(line) + 1
    return found if data[-1:] != b"\n" else found[:-1]


@given(st.lists(st.sampled_from([b"a", b"\t", b" ", b"\r", b"\n", b"\xff", b'"', b"\0"])))
def test_tabs_cut_as_split_does(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    expected = []
    for start, line in lines_of(data):
        text = line.removesuffix(b"\r")
        if text:
            fields = text.split(b"\t")
            expected.append((start, fields if len(fields) == 3 else None))
    assert cut(data, tabs=True) == expected


@given(st.lists(st.sampled_from([b"a", b"\t", b" ", b"\r", b"\n", b"\xff", b"\v", b"\0"])))
def test_blanks_cut_as_split_does(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    expected = []
    for start, line in lines_of(data):
        fields = line.split()
        if fields:
            expected.append((start, fields if len(fields) == 3 else None))
    assert cut(data, tabs=False) == expected


def cut(data: bytes, *, tabs: bool) -> list[tuple[int, list[bytes] | None]]:
    """Place and fields of each row; None where it has another number of fields."""
    raw = split_block(data, 100, NAMES, tabs=tabs, expected="3")
    columns = [raw.columns[name].to_pylist() for name in NAMES]
    found: list[tuple[int, list[bytes] | None]] = []
    for number, (place, *fields) in enumerate(zip(raw.rows.tolist(), *columns, strict=True)):
        wrong = number in raw.faults
        assert wrong == (None in fields)
        found.append((place - 100, None if wrong else fields))
    return found


def test_what_is_wrong_with_a_line_is_said() -> None:
    raw = split_block(b"1\t2\t3\n1\t2\n", 0, NAMES, tabs=True, expected="3 (a, b, c)")
    assert raw.faults == {1: "2 field(s), expected 3 (a, b, c)"}
