"""Texts are found exactly where tokenisation makes a control token of something in them."""

from __future__ import annotations

import json
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tokenization.marked_texts import MarkedTexts
from tests.tokenization.tokenizer_kinds import KINDS, TEXTS, library

#: ASCII to its full-width forms, which NFKC turns back.
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


@cache
def finder(kind: str) -> MarkedTexts:
    return MarkedTexts(library(kind))


@cache
def unknown(kind: str) -> set[int | None]:
    """Ids that characters get which the model lacks."""
    model = json.loads(library(kind).to_str())["model"]
    return {model.get("unk_id"), model["vocab"].get(model["unk_token"]) if model.get("unk_token")
            else None}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_texts_are_found_by_what_tokenisation_makes_of_them(kind: str, data: st.DataObject) -> None:
    added = library(kind).get_added_tokens_decoder()
    token = st.sampled_from([token.content for token in added.values()])
    wide = token.map(lambda text: text.translate(WIDE))
    other = token.map(str.swapcase)
    one = st.tuples(TEXTS, token | wide | other | TEXTS, TEXTS).map("".join)
    texts = data.draw(st.lists(one | st.none(), max_size=5))
    control = {number for number, token in added.items() if token.content.strip()} - unknown(kind)
    wanted = [
        text is not None
        and not control.isdisjoint(library(kind).encode(text, add_special_tokens=False).ids)
        for text in texts
    ]
    assert finder(kind).find(pa.array(texts, pa.string())).tolist() == wanted


def test_a_tokenizer_without_control_tokens_finds_nothing() -> None:
    from tokenizers import Tokenizer, models

    plain = MarkedTexts(Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")))
    assert plain.find(pa.array(["a", "[UNK]"])).tolist() == [False, False]
