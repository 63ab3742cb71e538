from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.distillation.rules.texts import (
    character_shingles,
    jaccard,
    mixed,
    normalised,
    word_shingles,
)

ANY_TEXT = st.text(max_size=30)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("How do I  open a zip-file?", "how do i open a zip file", True),
        ("STRASSE", "straße", True),
        ("ﬁne print", "fine print", True),
        ("c++ templates", "c# templates", False),
        ("c templates", "c# templates", False),
        ("100% cotton", "100 cotton", False),
        ("हिन्दी", "हनद", False),  # combining marks are letters of a word, not separators
        ("?", "!", False),
        ("", "   ", True),
    ],
)
def test_normal_forms(left: str, right: str, same: bool) -> None:
    assert (normalised(left) == normalised(right)) is same


@given(ANY_TEXT)
def test_a_normal_form_is_stable_under_whitespace_and_case(text: str) -> None:
    normal = normalised(text)
    assert normalised(f"  {normal}\n") == normalised(normal)
    assert "  " not in normal


@given(st.lists(ANY_TEXT, max_size=6))
def test_character_shingles_are_the_triples_of_each_text(texts: list[str]) -> None:
    offsets, shingles = character_shingles(texts)
    assert len(offsets) == len(texts) + 1
    for i, text in enumerate(texts):
        padded = f" {text} " if text else "   "
        triples = {padded[j : j + 3] for j in range(len(padded) - 2)}
        found = shingles[offsets[i] : offsets[i + 1]]
        assert len(found) == len(triples)  # 32 bits do not collide in so few
        assert (np.diff(found.astype(np.int64)) > 0).all()


def test_a_text_has_the_same_shingles_wherever_it_stands() -> None:
    alone = character_shingles(["zip files"])[1]
    offsets, shingles = character_shingles(["", "zip", "zip files", "x"])
    np.testing.assert_array_equal(shingles[offsets[2] : offsets[3]], alone)


def test_word_shingles_and_their_similarity() -> None:
    assert word_shingles("a b c d") == {"a b c", "b c d"}
    assert word_shingles("a b") == {"a b"}
    assert jaccard(word_shingles("a b c d"), word_shingles("b c d e")) == 1 / 3
    assert jaccard(frozenset(), frozenset()) == 1


def test_mixing_is_a_bijection_that_scatters() -> None:
    drawn = mixed(np.arange(10_000, dtype=np.uint64))
    assert len(np.unique(drawn)) == 10_000
    assert abs((drawn >> np.uint64(63)).mean() - 0.5) < 0.03
