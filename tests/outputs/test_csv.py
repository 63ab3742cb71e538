"""CSV: read back by Python's csv, by Arrow and as a spreadsheet would; formulas are none."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ExitCode, InputContractError
from pipeline.outputs.csv import Csv
from tests.outputs.makers import ABOUT, LISTS, Lists, ranked

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
ODD = st.sampled_from(
    ["=1+1", "'=1", "''", "a,b", 'say "x"', "a\r\nb", "007", "", "NaN", "\ufeffx"]
)


def text(table: pa.Table) -> str:
    return Csv().file(Csv().held(table), ABOUT).decode()


def parsed(table: pa.Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text(table), newline="")))


def original(cell: str) -> str:
    """As the module says."""
    return cell.removeprefix("'")


def test_names_then_a_line_for_each_candidate() -> None:
    lines = text(ranked(LISTS)).split("\r\n")
    assert lines[0] == (
        '"query_id","doc_id","rank","score","first_stage_rank","first_stage_score","reason"'
    )
    assert lines[1] == '"q1","d1",1,12.5,1,,'
    assert lines[7:] == ['"q3","\'=cmd()",1,,7,,"null_text"', ""]


@given(st.dictionaries(TEXTS | ODD, st.lists(TEXTS | ODD, min_size=1, max_size=3), max_size=4))
def test_every_text_comes_back_character_by_character(found: dict[str, list[str]]) -> None:
    lists: Lists = {query: [(doc, 0.5) for doc in docs] for query, docs in found.items()}
    rows = parsed(ranked(lists))
    wanted = [(query, doc) for query, docs in found.items() for doc in docs]
    assert [(original(r["query_id"]), original(r["doc_id"])) for r in rows] == wanted
    for row in rows:
        for cell in (row["query_id"], row["doc_id"]):
            assert not cell.startswith(tuple("=+-@\t\r\n"))


def test_arrow_reads_the_same() -> None:
    table = ranked({"a\nb": [("=x", 1.5), ('"', None), ("", 0.1)]})
    found = pyarrow.csv.read_csv(
        io.BytesIO(Csv().file(table, ABOUT)),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
    )
    assert found.column("doc_id").to_pylist() == ["'=x", '"', ""]
    assert found.column("query_id").to_pylist() == ["a\nb"] * 3
    assert found.column("score").to_pylist() == [1.5, None, 0.1]


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n'", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_what_begins_like_a_formula_is_text(sign: str) -> None:
    [row] = parsed(ranked({"q": [(f"{sign}cmd|' /C calc'!A0", 1.0)]}))
    assert row["doc_id"] == f"'{sign}cmd|' /C calc'!A0"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_score_is_the_same_float32(score: float) -> None:
    [row] = parsed(ranked({"q": [("d", score)]}))
    assert np.float32(row["score"]) == np.float32(score)


@pytest.mark.parametrize("number", [2**53 + 1, 2**64 - 1, 0])
def test_integers_keep_their_digits(number: int) -> None:
    [row] = parsed(ranked({number: [(number, 1.0)]}, ids=pa.uint64()))
    assert (row["query_id"], row["doc_id"]) == (str(number), str(number))


def test_copied_columns_of_one_value_are_written_and_nothing_is_not_empty() -> None:
    columns: dict[str, list[Any]] = {
        "flag": [True, None], "when": [None, np.datetime64("2024-01-02", "s")], "empty": ["", None],
    }  # fmt: skip
    table = ranked({"q": [("d", 1.0), ("e", 0.5)]}, **columns)
    lines = text(table).split("\r\n")
    assert lines[1].endswith(',true,,""')
    assert lines[2].endswith(',,"2024-01-02 00:00:00",')


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["a"]], "column 'x' holds list"),
        ([{"a": 1}], "column 'x' holds struct"),
        ([b"a"], "column 'x' holds binary"),
        (["a\0b"], "column 'x' holds a NUL"),
    ],
)
def test_what_a_cell_cannot_hold_is_refused_by_name(values: list[Any], message: str) -> None:
    with pytest.raises(InputContractError, match=f"format csv: .*{message}") as caught:
        text(ranked({"q": [("d", 1.0)]}, x=values))
    assert "output.formats" in str(caught.value)
    assert caught.value.exit_code == ExitCode.INPUT_CONTRACT


def test_a_text_that_is_not_utf8_is_refused() -> None:
    table = ranked({"q": [("abc", 1.0)]})
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(InputContractError, match="column 'doc_id' is not UTF-8"):
        text(table.set_column(1, "doc_id", broken))
