from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bench.inputs.texts import Writer, lengths, tables, uniforms, words
from pipeline.bench.subject import Subject
from pipeline.engine.build import build_reranker


def by_spaces(texts: list[str]) -> np.ndarray:
    return np.array([len(text.split()) for text in texts])


def test_uniforms_are_the_published_generator() -> None:
    """First numbers of splitmix64 with the seed 0, from the reference implementation."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert uniforms(0, 4).tolist() == [(number >> 11) / 2**53 for number in published]
    assert len(np.unique(np.concatenate([uniforms(seed, 1_000) for seed in range(5)]))) == 5_000


@pytest.mark.parametrize(
    ("table", "mean", "longest"),
    [
        ("query", 7.5, 20),
        ("passage", 75, 255),
        ("page512", 334, 476),
        ("page1024", 667, 988),
        ("listed100", 100, 200),
        ("listed250", 250, 480),
        ("answer80", 80, 212),
    ],
)
def test_lengths_have_the_stated_spread(table: str, mean: float, longest: int) -> None:
    quantiles = np.array(tables()[table])
    assert len(quantiles) == 256
    assert (np.diff(quantiles) >= 0).all()
    assert quantiles.mean() == pytest.approx(mean, rel=0.01)
    assert quantiles.max() == longest
    # A small workload has the spread of a large one, to within a few percent.
    assert lengths(table, 200).mean() == pytest.approx(mean, rel=0.03)
    assert lengths(table, 400)[:200].tolist() == lengths(table, 200).tolist()


@pytest.mark.parametrize("name", ["minilm-l6", "xlmr-base", "jina-tiny", "qwen3-0.6b"])
def test_texts_are_exactly_as_long_as_asked_in_every_tokenizer(
    subject: Callable[[str], Subject], name: str
) -> None:
    tokenizer = build_reranker(subject(name).model).tokenizer  # type: ignore[attr-defined]

    def tokens(texts: list[str]) -> np.ndarray:
        return tokenizer.encode(texts).lengths

    wanted = np.arange(1, 400)
    texts = Writer(tokens).write(wanted, seed=3)
    assert tokens(texts).tolist() == wanted.tolist()
    running = " ".join(texts[100:])
    # As of real text: some words are more than one token, most are one.
    assert 1.05 < tokens([running])[0] / len(running.split()) < 1.6


WRITER = Writer(by_spaces)


@given(st.lists(st.integers(1, 60), max_size=20), st.integers(0, 50))
def test_texts_follow_from_the_seed(wanted: list[int], seed: int) -> None:
    asked = np.array(wanted, dtype=np.int64)
    texts = WRITER.write(asked, seed=seed)
    assert by_spaces(texts).tolist() == wanted
    assert texts == WRITER.write(asked, seed=seed)
    if sum(wanted) > 30:
        assert texts != WRITER.write(asked, seed=seed + 1)


def test_words_are_distinct_and_the_frequent_ones_come_first() -> None:
    assert len(set(words())) == len(words()) > 5_000
    text = " ".join(WRITER.write(np.array([5_000]), seed=0)).lower()
    counts = [text.split().count(word) for word in (words()[0], words()[50], words()[4_000])]
    assert counts[0] > counts[1] > counts[2]


def test_a_tokenizer_without_whole_words_is_refused() -> None:
    with pytest.raises(ValueError, match="one token"):
        Writer(lambda texts: np.array([2 * len(text) for text in texts]))
