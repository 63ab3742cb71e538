"""TREC runs: read back by ir_measures, by a plain split, and by our own reader; else refused."""

from __future__ import annotations

import io
import unicodedata

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ExitCode, InputContractError
from pipeline.outputs.trec import Trec
from pipeline.ranking.runs import parse_trec_run
from tests.outputs.makers import ABOUT, LISTS, Lists, ranked

#: Characters at which Python, C or a text file ends a word or a line, or which decoding drops.
BREAKS = [
    *" \t\n\v\f\r\0\x1b\x1c\x1d\x1e\x1f\x7f\x80\x85\x9f\xa0",
    *"\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000\ufeff",
]

IDS = st.text(min_size=1, max_size=6)
SCORES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def breaks(character: str) -> bool:
    """By Unicode's own table."""
    return character.isspace() or unicodedata.category(character) == "Cc" or character == "\ufeff"


def text(lists: Lists, **about: str) -> str:
    sink = Trec()
    return sink.write(sink.held(ranked(lists)), ABOUT | about).decode()


def test_a_line_has_six_fields() -> None:
    assert text(LISTS).splitlines() == [
        "q1 Q0 d1 1 12.5 all-minilm-l6-v2",
        "q1 Q0 d2 2 0.1 all-minilm-l6-v2",
        "q1 Q0 d3 3 0.1 all-minilm-l6-v2",
        "q1 Q0 d4 4 -3.0000002e-08 all-minilm-l6-v2",
        "q2 Q0 ä-1 1 -0.0 all-minilm-l6-v2",
    ]


@given(
    st.dictionaries(
        IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=4), min_size=1, max_size=3
    )
)
def test_what_is_written_is_what_every_reader_reads(found: dict[str, dict[str, float]]) -> None:
    lists: Lists = {
        query: sorted(documents.items(), key=lambda pair: -pair[1])
        for query, documents in found.items()
    }
    words = [*lists, *(doc for documents in lists.values() for doc, _ in documents)]
    if any(breaks(character) for word in words for character in word):
        with pytest.raises(InputContractError, match=r"output\.formats"):
            text(lists)
        return
    written = text(lists)
    wanted = [(query, doc, score) for query, docs in lists.items() for doc, score in docs]
    for source in (written, io.StringIO(written, newline=None)):  # as a file is opened by default
        rows = list(ir_measures.read_trec_run(source))
        assert [(row.query_id, row.doc_id, np.float32(row.score)) for row in rows] == wanted
    split = [line.split() for line in written.split("\n")[:-1]]
    assert [(f[0], f[2], np.float32(f[4])) for f in split] == wanted
    rankings = parse_trec_run(written.encode(), "run", "run").rankings
    assert rankings == {query: [doc for doc, _ in docs] for query, docs in lists.items()}


@pytest.mark.parametrize("character", BREAKS, ids=lambda c: f"U+{ord(c):04X}")
def test_an_id_at_which_a_reader_would_stop_is_refused_by_name(character: str) -> None:
    for bad in (f"a{character}b", f"{character}a", f"a{character}", character):
        for lists, what in (
            ({bad: [("d1", 1.0)]}, f"query id {bad!r} holds"),
            ({"q1": [("d1", 2.0), (bad, 1.0)]}, f"document id {bad!r} of query 'q1' holds"),
        ):
            with pytest.raises(InputContractError) as caught:
                text(lists)  # type: ignore[arg-type]
            assert what in str(caught.value)
            assert "output.formats" in str(caught.value)
            assert caught.value.exit_code == ExitCode.INPUT_CONTRACT


@pytest.mark.parametrize("empty", ["", None])
def test_an_id_that_is_none_is_refused(empty: str | None) -> None:
    with pytest.raises(InputContractError, match="query id '' is empty"):
        text({empty: [("d1", 1.0)]})
    with pytest.raises(InputContractError, match="document id '' of query 'q1' is empty"):
        text({"q1": [(empty, 1.0)]})


def test_an_id_of_a_row_that_is_left_out_is_nobodys_business() -> None:
    assert text({"q1": [("d1", 1.0), ("a b", None), (None, None)], "q 2": [("d", None)]}) == (
        "q1 Q0 d1 1 1.0 all-minilm-l6-v2\n"
    )


def test_an_id_that_is_not_utf8_is_refused() -> None:
    table = ranked({"q1": [("abc", 1.0)]})
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(InputContractError, match="document id is not UTF-8"):
        Trec().write(table.set_column(1, "doc_id", broken), ABOUT)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.int32()])
def test_ids_may_be_numbers(kind: pa.DataType) -> None:
    data = Trec().write(ranked({7: [(2**31 - 1, 1.0)]}, ids=kind), ABOUT)
    assert data.startswith(b"7 Q0 2147483647 1 1.0 ")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_ids_may_be_text_of_any_type(kind: pa.DataType) -> None:
    data = Trec().write(ranked({"q": [("d", 1.0)]}, ids=kind), ABOUT)
    assert data.startswith(b"q Q0 d 1 1.0 ")


@pytest.mark.parametrize(
    ("model", "tag"),
    [("my models/a\tb", "my_models/a_b"), ("a\n1 Q0 x 1 9 t", "a_1_Q0_x_1_9_t"), ("", "_")],
)
def test_the_tag_is_one_word(model: str, tag: str) -> None:
    assert text({"q": [("d", 1.0)]}, model=model) == f"q Q0 d 1 1.0 {tag}\n"
