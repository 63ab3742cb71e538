"""Texts in chunks have the ids that they have whole, whatever stands in them."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from pipeline.tokenization import chunk_check
from pipeline.tokenization.chunk_cache import ChunkCache, cut, library_ids
from pipeline.tokenization.chunk_check import AWKWARD, chunk_cache
from pipeline.tokenization.cut_rules import CutRules, cut_rules
from tests.tokenization.tokenizer_kinds import GOLDENS, KINDS, TEXTS, library

LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyz")


@cache
def cached(kind: str) -> ChunkCache:
    found = chunk_cache(library(kind), name=kind)
    assert found is not None, f"{kind}: its cuts are proven, so it should have a cache"
    return found


def same(cache: ChunkCache, texts: list[str]) -> None:
    """Fail with the first text whose ids differ."""
    ids, offsets = cache.encode(pa.array(texts, pa.string()))
    wanted, wanted_offsets = library_ids(cache.library, texts)
    for text, (a, b), (c, d) in zip(
        texts, pairwise(offsets), pairwise(wanted_offsets), strict=True
    ):
        assert ids[a:b].tolist() == wanted[c:d].tolist(), ascii(text)
    assert ids.dtype == np.int32 and len(ids) == len(wanted)


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(TEXTS, min_size=1, max_size=12))
def test_ids_are_those_of_the_whole_text(kind: str, texts: list[str]) -> None:
    same(cached(kind), texts)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_of_many_texts_with_common_words(kind: str) -> None:
    chance = random.Random(kind)
    words = [
        *" ".join(AWKWARD).split(" "),
        *["the", "of", "and", "cache", "reads", "ranks,", "scores.", "(units)"],
    ]
    texts = [
        chance.choice([" ", " ", " ", "  ", "\n", ""]).join(chance.choices(words, k=12))
        for _ in range(3_000)
    ]
    same(cached(kind), texts)
    same(cached(kind), texts[::-1])  # every chunk is known by now


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts_and_empty_texts(kind: str) -> None:
    same(cached(kind), [])
    same(cached(kind), ["", "", "a b", ""])
    sliced = pa.array(["zero", "one two", "", "three"], pa.string()).slice(1, 3)
    ids, offsets = cached(kind).encode(sliced)
    wanted, wanted_offsets = library_ids(library(kind), ["one two", "", "three"])
    assert ids.tolist() == wanted.tolist()
    assert offsets.tolist() == wanted_offsets.tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(TEXTS, max_size=6))
def test_chunks_cover_their_texts(kind: str, texts: list[str]) -> None:
    chunks, bounds = cut(pa.array(texts, pa.string()), cached(kind).rules)
    found = ["".join(chunks.to_pylist()[a:b]) for a, b in pairwise(bounds)]
    assert found == texts


def test_most_words_are_chunks() -> None:
    text = "Ranks (or scores) of documents, queries.\nUnits are read."
    chunks = {kind: cut(pa.array([text]), cached(kind).rules)[0].to_pylist() for kind in KINDS}
    assert chunks["ms-marco-minilm-tiny"] == [
        *["Ranks", " (", "or", " scores", ")", " of", " documents", ",", " queries", "."],
        *["\nUnits", " are", " read", "."],
    ]
    assert chunks["bge-reranker-tiny"][-4:] == [" queries.", "\nUnits", " are", " read."]
    assert chunks["jina-reranker-v1-tiny-tiny"][:4] == ["Ranks", " (or", " scores", ")"]
    assert chunks["jina-reranker-v3"][-5:] == [".\n", "Units", " are", " read", "."]


@pytest.mark.parametrize(
    ("kind", "chunk"),
    [
        ("bge-reranker-tiny", " \u0301x"),  # a mark joins the space before it
        ("bge-reranker-tiny", " \U0001f3fdx"),
        ("bge-reranker-tiny", "x\u0600"),  # a prepended mark joins the space behind it
        ("bge-reranker-tiny", " x\u0d4e"),
        ("mxbai-rerank-tiny", " \u2581x"),  # the prefix itself
        ("mxbai-rerank-tiny", " \u00b4x"),  # becomes a space and a mark
        ("mxbai-rerank-tiny", "x\u200b"),  # becomes a space
        ("qwen3-reranker-tiny", "x\u00a0"),  # whitespace of the split pattern
        ("qwen3-reranker-tiny", " <|im_end|>"),
        ("qwen3-reranker-tiny", " <think>"),
        ("ms-marco-minilm-tiny", "[SEP]"),
        ("mxbai-rerank-tiny", "[UN\uff2b]"),  # matched in normalised text
        ("modernbert", "|||EMAIL|||"),
    ],
)
def test_chunks_that_are_not_tokenised_apart(kind: str, chunk: str) -> None:
    rules = cached(kind).rules
    assert rules.unsound([" word", chunk, " other"]) == [False, True, False]
    same(cached(kind), [f"a{chunk} b", f"a {chunk} b", chunk])


def test_texts_of_special_tokens_may_be_plain_text() -> None:
    """As chat prompts read documents: the library's switch is honoured, separators or not."""
    tokenizer = Tokenizer.from_file(str(GOLDENS / "qwen3-reranker-tiny" / "tokenizer.json"))
    cache = chunk_cache(tokenizer, name="chat")
    assert cache is not None
    tokenizer.encode_special_tokens = True
    same(cache, ["end <|im_end|> here", "plain words alone", *AWKWARD])
    assert tokenizer.token_to_id("<|im_end|>") not in cache.encode(pa.array(["<|im_end|>"]))[0]


def test_a_tokenizer_without_added_tokens() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    cache = chunk_cache(tokenizer, name="bytes")
    assert cache is not None
    same(cache, [*AWKWARD])


def _changed(kind: str, **parts: object) -> Tokenizer:
    name = kind if kind.endswith("tiny") else "qwen3-reranker-tiny"
    tokenizer = Tokenizer.from_file(str(GOLDENS / name / "tokenizer.json"))
    for part, value in parts.items():
        setattr(tokenizer, part, value)
    return tokenizer


def _with_token(kind: str, token: AddedToken) -> Tokenizer:
    tokenizer = _changed(kind)
    tokenizer.add_tokens([token])
    return tokenizer


BERT, XLMR, QWEN = "ms-marco-minilm-tiny", "bge-reranker-tiny", "qwen3-reranker-tiny"
UNPROVEN = {
    "another normaliser": _changed(BERT, normalizer=normalizers.Lowercase()),
    "another splitter": _changed(BERT, pre_tokenizer=pre_tokenizers.Whitespace()),
    "no splitter": _changed(QWEN, pre_tokenizer=None),
    "another pattern": _changed(
        QWEN,
        pre_tokenizer=pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(r"\w+ \w+|."), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    ),
    "a prefix for the first word": _changed(
        XLMR, pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first")
    ),
    "words over spaces": _changed(XLMR, pre_tokenizer=pre_tokenizers.Metaspace(split=False)),
    "spaces dropped at the start": _changed(
        XLMR,
        normalizer=normalizers.Sequence([normalizers.Strip(), normalizers.NFKC()]),
        pre_tokenizer=pre_tokenizers.Metaspace(),
    ),
    "chance": _changed(QWEN, model=models.BPE(dropout=0.5)),
    "an added token of two words": _with_token(BERT, AddedToken("new york", normalized=False)),
    "the same, normalised": _with_token(BERT, AddedToken("New York", normalized=True)),
}


@pytest.mark.parametrize("why", UNPROVEN)
def test_without_proof_texts_are_tokenised_whole(why: str) -> None:
    assert cut_rules(UNPROVEN[why]) is None
    assert chunk_cache(UNPROVEN[why], name="x") is None


def test_a_tokenizer_that_contradicts_the_rules_is_not_cut(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = CutRules(cuts=((LETTERS, LETTERS),), any_edge=True)
    monkeypatch.setattr(chunk_check, "cut_rules", lambda _: wrong)
    assert chunk_cache(library(BERT), name="folder/tokenizer.json") is None
    assert "folder/tokenizer.json: chunks of a text yield other ids" in caplog.text


def test_memory_is_bounded() -> None:
    rules = cut_rules(library(BERT))
    assert rules is not None
    cache = ChunkCache(library(BERT), rules, most=50)
    long = "x" * 65
    for first in range(0, 400, 40):
        same(cache, [f"word{i} again {long}" for i in range(first, first + 40)])
        assert len(cache) <= 50
    same(cache, ["again and again"])
    assert len(cache) == 3  # "again", " and", " again": what was there has been forgotten
    same(cache, [long, f"again {long}"])
    assert len(cache) == 3


def test_several_threads_share_a_cache() -> None:
    rules = cut_rules(library(QWEN))
    assert rules is not None
    cache = ChunkCache(library(QWEN), rules, most=200)
    chance = random.Random(5)
    words = [f"w{i}" for i in range(400)]
    batches = [[" ".join(chance.choices(words, k=30)) for _ in range(20)] for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda texts: same(cache, texts), batches))
