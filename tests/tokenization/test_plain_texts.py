"""Where special tokens are text, no text holds a control id, and other texts keep their ids."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pipeline.errors import ModelError
from pipeline.tokenization.chunk_cache import ChunkCache
from pipeline.tokenization.chunk_check import AWKWARD, chunk_cache
from pipeline.tokenization.plain_texts import plain_text_tokenizer
from tests.tokenization.tokenizer_kinds import KINDS, TEXTS, library

WHERE = Path("tokenizer.json")
#: ASCII to its full-width forms, which NFKC turns back.
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


@cache
def plain(kind: str) -> Tokenizer:
    return plain_text_tokenizer(library(kind).to_str().encode(), where=WHERE)


@cache
def chunks(kind: str) -> ChunkCache:
    found = chunk_cache(plain(kind), name=kind)
    assert found is not None
    return found


def control(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids by text of what steers a model; unknown characters are no control."""
    unknown = {"<unk>", "[UNK]"}
    added = tokenizer.get_added_tokens_decoder().items()
    return {t.content: i for i, t in added if t.content.strip() and t.content not in unknown}


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_no_text_holds_a_control_id(kind: str, data: st.DataObject) -> None:
    tokens = [token.content for token in library(kind).get_added_tokens_decoder().values()]
    token = st.sampled_from(tokens)
    nested = st.tuples(token, token, st.integers(1, 6)).map(
        lambda t: t[0][: t[2]] + t[1] + t[0][t[2] :]
    )
    wide = token.map(lambda text: text.translate(WIDE))
    beside = st.tuples(TEXTS, token, TEXTS).map("".join)
    pieces = st.one_of(token, nested, wide, beside, token.map(str.upper), token.map(str.lower))
    text = data.draw(st.lists(pieces, min_size=1, max_size=6).map("".join))
    found = ids(plain(kind), text)
    assert not set(found) & set(control(library(kind)).values())
    assert chunks(kind).encode(pa.array([text]))[0].tolist() == found


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # most texts hold a token
@given(TEXTS)
def test_texts_without_special_tokens_keep_their_ids(kind: str, text: str) -> None:
    published = ids(library(kind), text)
    added = {i for i, t in library(kind).get_added_tokens_decoder().items() if t.content.strip()}
    assume(not added & set(published))
    assert ids(plain(kind), text) == published


@pytest.mark.parametrize("kind", KINDS)
def test_awkward_texts_keep_their_ids(kind: str) -> None:
    for text in [*AWKWARD, " ".join(AWKWARD), "a  b   c    d\n\n\ne"]:
        assert ids(plain(kind), text) == ids(library(kind), text)


def test_unigram_knows_no_piece_of_that_name() -> None:
    """The switch of the tokenizers library leaves the piece in the vocabulary."""
    kind = "bge-reranker-tiny"
    switched = Tokenizer.from_str(library(kind).to_str())
    switched.encode_special_tokens = True
    assert 2 in ids(switched, "a </s> b")
    assert 2 not in ids(plain(kind), "a </s> b")
    assert 2 in ids(library(kind), "a \uff1c/s\uff1e b")
    assert 2 not in ids(plain(kind), "a \uff1c/s\uff1e b")


def gemma() -> dict[str, Any]:
    """BPE over characters with byte fallback, whose merges make a control token and breaks."""
    letters = [*"ab<>s\u2581\n", "<s", "<s>", "<s>a", "\u2581\u2581", "\n\n"]
    words = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), *letters]
    merges = [("<", "s"), ("<s", ">"), ("<s>", "a"), ("\u2581", "\u2581"), ("\n", "\n")]
    built = Tokenizer(
        models.BPE(
            vocab={word: place for place, word in enumerate(words)},
            merges=merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    built.normalizer = normalizers.Replace(" ", "\u2581")
    built.decoder = decoders.ByteFallback()
    built.add_special_tokens(["<unk>", "<s>"])
    built.add_tokens([AddedToken(text, normalized=False) for text in ("\u2581\u2581", "\n\n")])
    data: dict[str, Any] = json.loads(built.to_str())
    return data


def test_merges_and_byte_fallback_make_no_control_token() -> None:
    data = gemma()
    published = Tokenizer.from_str(json.dumps(data))
    ours = plain_text_tokenizer(json.dumps(data).encode(), where=WHERE)
    steering = published.token_to_id("<s>")
    for text in ["<s>", "a<s>a", "<s<s>>", "<s>\u00e9", "\U0001f469<s>", "<\uff53>"]:
        assert steering not in ids(ours, text)
        assert published.decode(ids(ours, text)) == text
    for text in ["a  b", "a\n\nb", "\u00e9", "a \u2581\u2581b"]:
        assert ids(ours, text) == ids(published, text)


def test_tokens_that_are_kept_keep_their_numbers() -> None:
    """Added whitespace behind the vocabulary's end is numbered after tokens that are gone."""
    kind = "modernbert"
    runs = [
        (i, t) for i, t in library(kind).get_added_tokens_decoder().items() if not t.content.strip()
    ]
    assert len(runs) == 7
    for number, token in runs:
        assert plain(kind).token_to_id(token.content) == number
        assert ids(plain(kind), f"a{token.content}b") == ids(library(kind), f"a{token.content}b")


def test_a_tokenizer_that_cannot_tell_them_apart_is_refused() -> None:
    """Without a splitter a text may hold any piece, also one with a space in its name."""
    built = Tokenizer(models.WordLevel({"<s>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    built.add_special_tokens(["<s>"])
    with pytest.raises(
        ModelError, match=r"tokenizer.json: the text '<s>'.*special_tokens: upstream"
    ):
        plain_text_tokenizer(built.to_str().encode(), where=WHERE)
    built.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert ids(plain_text_tokenizer(built.to_str().encode(), where=WHERE), "<s>") == [1]


def test_no_id_moves() -> None:
    for kind in KINDS:
        names = library(kind).get_vocab(with_added_tokens=False)
        ours = plain(kind).get_vocab(with_added_tokens=False)
        steering = {t.content for t in library(kind).get_added_tokens_decoder().values()}
        shared = [name for name in names if name not in steering]
        assert np.array_equal([names[n] for n in shared], [ours[n] for n in shared])
