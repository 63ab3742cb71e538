from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ranking.id_forms import canonical, matched, near_ids


@pytest.mark.parametrize(
    ("ours", "theirs", "forms"),
    [
        ("1", "1.0", "type"),
        ("0042", "42", "type"),
        ("7.", "007.00", "type"),
        ("Q1", "q1", "letter case"),
        ("doc 1", " doc  1 ", "white space"),
        ("a\u00a0b", "a b", "white space"),
        ("\ufeffd1", "d1", "white space"),
        ("caf\u00e9", "cafe\u0301", "Unicode form"),
        ("D1 ", "d1", "white space and letter case"),
        ("12 ", "12.0", "white space and type"),
    ],
)
def test_what_two_ids_differ_by(ours: str, theirs: str, forms: str) -> None:
    [near] = near_ids(matched([("q", ours)], [("q", theirs)]))
    assert (near.forms, near.count, near.examples) == (forms, 1, ((ours, theirs),))


@pytest.mark.parametrize(
    ("ours", "theirs"), [("1", "10"), ("1.5", "1"), ("-1", "1"), ("d1", "d-1"), ("0", "")]
)
def test_ids_that_are_not_alike(ours: str, theirs: str) -> None:
    assert matched([("q", ours)], [("q", theirs)]) == []


def test_ids_are_matched_within_their_place_and_counted_by_kind() -> None:
    ours = [("q1", "A"), ("q1", "B"), ("q2", "1.0"), ("q3", "x")]
    theirs = [("q1", "a"), ("q1", "b"), ("q2", "1"), ("q9", "X")]
    found = near_ids(matched(ours, theirs))
    assert [(near.forms, near.count) for near in found] == [("letter case", 2), ("type", 1)]
    assert found[0].described("the one", "the other") == (
        "by letter case alone, such as 'A' in the one and 'a' in the other, 'B' in the one and "
        "'b' in the other"
    )


@given(st.text(max_size=12))
def test_a_canonical_form_is_its_own(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    [once] = canonical([text])
    assert canonical(pa.array([once], pa.large_string()))[0].strip() == once.strip()
