"""Pairs assembled in numpy are the pairs of the tokenizers library."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError, ModelError
from pipeline.rerankers.support.checkpoint import Checkpoint
from pipeline.rerankers.support.tokens import (
    TextTokenizer,
    distinct,
    ragged_range,
    resolve_max_length,
    truncate_pairs,
)

GOLDENS = Path(__file__).parents[1] / "goldens"
#: One golden of each kind of tokenizer: XLM-R, BERT, DeBERTa-v2, RoBERTa.
KINDS = (
    "bge-reranker-tiny",
    "ms-marco-minilm-tiny",
    "mxbai-rerank-tiny",
    "jina-reranker-v1-tiny-tiny",
)
SPECIALS = ("<s>", "</s>", "<pad>", "<mask>", "<unk>", "[CLS]", "[SEP]", "[PAD]", "[MASK]", " ")
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(SPECIALS), st.text(max_size=8)), max_size=8).map("".join),
    st.sampled_from(
        ["", " ", "\t\n", "a " * 40, "\u00a0\u200b\ufb01 \uff46\uff55", "日本語 " * 12, "🦊" * 20]
    ),
)


@cache
def tokenizer(name: str) -> TextTokenizer:
    return TextTokenizer(Checkpoint(GOLDENS / name))


@pytest.mark.parametrize("name", KINDS)
@given(
    st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4),
    st.integers(8, 70),
    st.sampled_from(["longest_first", "document"]),
)
def test_pairs_are_the_librarys(
    name: str, pairs: list[tuple[str, str]], max_length: int, strategy: str
) -> None:
    ours = tokenizer(name)
    pair = ours.template(pair=True)
    queries, documents = (ours.encode([p[side] for p in pairs]) for side in (0, 1))
    kept = truncate_pairs(
        queries.lengths,
        documents.lengths,
        room=max_length - pair.specials,
        strategy=strategy,  # type: ignore[arg-type]
    )
    everything = np.arange(len(pairs), dtype=np.int64)
    ids, offsets, types = pair.assemble(
        [(queries, everything, kept[0]), (documents, everything, kept[1])]
    )
    theirs = tokenizer(name).library
    for i, (query, document) in enumerate(pairs):
        if strategy == "document" and queries.lengths[i] >= max_length - pair.specials:
            continue  # only_second is an error there
        their_strategy = "longest_first" if strategy == "longest_first" else "only_second"
        theirs.enable_truncation(max_length, strategy=their_strategy)
        try:
            wanted = theirs.encode(query, document)
        finally:
            theirs.no_truncation()
        assert ids[offsets[i] : offsets[i + 1]].tolist() == wanted.ids
        assert types[offsets[i] : offsets[i + 1]].tolist() == wanted.type_ids


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_side_keeps_the_pairs_separators(name: str) -> None:
    ours = tokenizer(name)
    pair, arena = ours.template(pair=True), ours.encode(["word", ""])
    first, second = np.array([0, 1, 1]), np.array([1, 0, 1])
    ids, offsets, _ = pair.assemble(
        [(arena, first, arena.lengths[first]), (arena, second, arena.lengths[second])]
    )
    wanted = [ours.library.encode(*texts).ids for texts in (("word", ""), ("", "word"), ("", ""))]
    assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == wanted


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_truncation_fills_the_room_and_takes_from_the_longer(
    first: int, second: int, room: int
) -> None:
    a, b = truncate_pairs(
        np.array([first]), np.array([second]), room=room, strategy="longest_first"
    )
    assert a[0] + b[0] == min(first + second, room)
    assert 0 <= a[0] <= first
    assert 0 <= b[0] <= second


def test_document_truncation_spares_the_query() -> None:
    query, document = truncate_pairs(
        np.array([9, 30]), np.array([50, 50]), room=20, strategy="document"
    )
    assert query.tolist() == [9, 20]
    assert document.tolist() == [11, 0]


def test_distinct_texts_and_nulls() -> None:
    import pyarrow as pa

    texts, which = distinct(pa.chunked_array([["a", None], ["", "a"]]))
    assert [texts[i] for i in which] == ["a", "", "", "a"]


def test_ragged_range() -> None:
    assert ragged_range(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ragged_range(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


def test_max_length_is_the_smallest_limit_unless_asked() -> None:
    assert resolve_max_length(None, tokenizer=512, positions=1026, reserved=2) == 512
    assert resolve_max_length(None, tokenizer=10**30, positions=514, reserved=2) == 512
    assert resolve_max_length(700, tokenizer=512, positions=1026, reserved=2) == 700
    with pytest.raises(ConfigurationError, match="1024 positions"):
        resolve_max_length(1025, tokenizer=512, positions=1026, reserved=2)


def test_a_damaged_tokenizer_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json: not readable"):
        TextTokenizer(Checkpoint(tmp_path))
