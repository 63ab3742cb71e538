"""Pairs assembled in numpy are the pairs of the tokenizers library."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.errors import ConfigurationError, ModelError
from pipeline.tokenization.chunk_check import AWKWARD
from pipeline.tokenization.tokens import (
    TextTokenizer,
    distinct,
    ragged_range,
    resolve_max_length,
    truncate_pairs,
)
from tests.tokenization.tokenizer_kinds import GOLDEN_KINDS, GOLDENS, TEXTS

#: Pairs that are compared with the library's, over all kinds of tokenizers.
MANY, A_MILLION = 27_000, 1_000_000


@cache
def tokenizer(name: str) -> TextTokenizer:
    return TextTokenizer(Checkpoint(GOLDENS / name))


@pytest.mark.parametrize("name", GOLDEN_KINDS)
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
        of_pair = types[offsets[i] : offsets[i + 1]].tolist()
        assert of_pair == [kind * ours.gives_types for kind in wanted.type_ids]


@pytest.mark.parametrize("name", GOLDEN_KINDS)
def test_many_pairs_are_the_librarys(name: str) -> None:
    compare_many(name, MANY // len(GOLDEN_KINDS), seed=1)


@pytest.mark.nightly
@pytest.mark.parametrize("name", GOLDEN_KINDS)
def test_a_million_pairs_are_the_librarys(name: str) -> None:
    for seed in range(2, 25):
        compare_many(name, A_MILLION // len(GOLDEN_KINDS) // 22, seed=seed)


def compare_many(name: str, count: int, *, seed: int) -> None:
    """Pairs of random words, some of them awkward, at a random truncation; each document twice."""
    chance = random.Random(f"{name} {seed}")
    ours = tokenizer(name)
    special = [token.content for token in ours.library.get_added_tokens_decoder().values()]
    words = [*" ".join(AWKWARD).split(" "), *special, "\n", ""]
    words += ["".join(chance.choices("etaoinshrdlu", k=5)) for _ in range(20 * len(words))]
    queries = [" ".join(chance.choices(words, k=chance.randint(0, 9))) for _ in range(count // 50)]
    documents = [
        " ".join(chance.choices(words, k=chance.randint(0, 60))) for _ in range(count // 2)
    ]
    query_of, document_of = np.arange(count) % len(queries), np.arange(count) % len(documents)
    max_length = chance.choice([24, 64, 512])
    pair = ours.template(pair=True)
    first, second = ours.encode(queries), ours.encode(documents)
    kept = truncate_pairs(
        first.lengths[query_of],
        second.lengths[document_of],
        room=max_length - pair.specials,
        strategy="longest_first",
    )
    ids, offsets, types = pair.assemble(
        [(first, query_of, kept[0]), (second, document_of, kept[1])]
    )
    library = tokenizer(name).library
    library.enable_truncation(max_length)
    try:
        texts = [(queries[q], documents[d]) for q, d in zip(query_of, document_of, strict=True)]
        wanted = library.encode_batch(texts)
    finally:
        library.no_truncation()
    assert ids.tolist() == [number for encoding in wanted for number in encoding.ids]
    stated = [kind for encoding in wanted for kind in encoding.type_ids]
    assert types.tolist() == [kind * ours.gives_types for kind in stated]
    assert np.diff(offsets).tolist() == [len(encoding) for encoding in wanted]


@pytest.mark.parametrize("name", GOLDEN_KINDS)
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
