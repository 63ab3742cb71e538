"""Encoded TREC runs: one word for each id, and the same id back."""

from __future__ import annotations

from urllib.parse import unquote

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.outputs.trec import Trec
from pipeline.outputs.trec_encoded import TrecEncoded
from tests.outputs.makers import ABOUT, LISTS, Lists, ranked
from tests.outputs.test_trec import BREAKS

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


def text(lists: Lists) -> str:
    sink = TrecEncoded()
    return sink.file(sink.held(ranked(lists)), ABOUT).decode()


@given(st.dictionaries(IDS, st.sets(IDS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_every_id_comes_back_character_by_character(found: dict[str, set[str]]) -> None:
    lists: Lists = {query: [(doc, 1.0) for doc in sorted(docs)] for query, docs in found.items()}
    rows = list(ir_measures.read_trec_run(text(lists)))
    assert [(unquote(row.query_id), unquote(row.doc_id)) for row in rows] == [
        (query, doc) for query, docs in lists.items() for doc, _ in docs
    ]


@pytest.mark.parametrize("character", BREAKS, ids=lambda c: f"U+{ord(c):04X}")
def test_what_ends_a_word_is_encoded(character: str) -> None:
    [line] = text({f"a{character}b": [(character, 1.0)]}).split("\n")[:-1]
    query, _, doc, *_ = line.split()
    assert len(line.split()) == 6
    assert (unquote(query), unquote(doc)) == (f"a{character}b", character)


def test_other_ids_are_those_of_trec() -> None:
    sink = Trec()
    assert text(LISTS) == sink.file(sink.held(ranked(LISTS)), ABOUT).decode()
    assert text({"100%": [("%41", 1.0)]}).startswith("100%25 Q0 %2541 1 1.0 ")


def test_two_ids_stay_two() -> None:
    lists: Lists = {"q": [("a b", 3.0), ("a%20b", 2.0), ("a%2520b", 1.0)]}
    assert [line.split()[2] for line in text(lists).splitlines()] == [
        "a%20b", "a%2520b", "a%252520b",
    ]  # fmt: skip


@pytest.mark.parametrize("empty", ["", None])
def test_an_id_that_is_none_is_refused(empty: str | None) -> None:
    with pytest.raises(InputContractError, match="document id '' of query 'q1' is empty"):
        text({"q1": [(empty, 1.0)]})
