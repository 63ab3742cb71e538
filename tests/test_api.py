"""From Python: what is taken as documents, and what is refused with a sentence."""

from __future__ import annotations

import enum
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from pipeline import load
from pipeline.api import Ranker
from pipeline.errors import ConfigurationError, ModelError
from tests.makers import overflowing

MINILM = Path(__file__).parent / "goldens" / "ms-marco-minilm-tiny"
QUERY = "red shoes"
TEXTS = ["a blue hat", "red shoes for running", "red paint", "shoes"]


@pytest.fixture(scope="module")
def lexical() -> Ranker:
    return load("lexical", device="cpu")


class Text(str):
    def __str__(self) -> str:
        return "something else"


class Card(enum.StrEnum):
    CHEAP = "lexical"


@pytest.mark.parametrize(
    "make",
    [
        tuple,
        iter,
        lambda texts: (text for text in texts),
        np.array,
        lambda texts: np.array(texts, dtype=object),
        pa.array,
        lambda texts: pa.chunked_array([texts[:1], texts[1:]]),
        lambda texts: pa.array(texts, pa.large_string()).dictionary_encode(),
        pd.Series,
        lambda texts: pd.Series(texts, index=[7, 3, 3, 0]),
        lambda texts: pd.Series(["x", *texts])[[False, True, True, True, True]],
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.DataFrame({"text": texts})["text"],
        pd.Index,
        lambda texts: dict(enumerate(texts)).values(),
        lambda texts: dict.fromkeys(texts).keys(),
        lambda texts: pa.table({"text": texts})["text"],
        lambda texts: [Text(text) for text in texts],
    ],
)
def test_documents_are_taken_by_position(
    lexical: Ranker, make: Callable[[list[str]], Iterable[str]]
) -> None:
    expected = lexical.score(QUERY, TEXTS)
    np.testing.assert_array_equal(lexical.score(QUERY, make(TEXTS)), expected)
    ranked = lexical.rank(QUERY, make(TEXTS))
    assert [row.document for row in ranked] == [TEXTS[row.index] for row in ranked]
    assert [row.score for row in ranked] == [expected[row.index] for row in ranked]
    assert {type(row.document) for row in ranked} == {str}


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_missing_documents_have_no_score_and_come_last(lexical: Ranker, missing: Any) -> None:
    documents = [missing, TEXTS[1], missing]
    scores = lexical.score(QUERY, documents)
    assert np.isnan(scores).tolist() == [True, False, True]
    ranked = lexical.rank(QUERY, documents)
    assert [(row.index, row.rank) for row in ranked] == [(1, 1), (0, 2), (2, 3)]
    assert [(row.score, row.document) for row in ranked[1:]] == [(None, None)] * 2


def test_none_and_empty(lexical: Ranker) -> None:
    assert lexical.score(QUERY, []).shape == (0,)
    assert lexical.score(QUERY, []).dtype == np.float32
    assert lexical.rank(QUERY, []) == []
    assert lexical.score("", TEXTS).tolist() == [0.0] * 4
    assert np.isnan(lexical.score(QUERY, [None, None])).all()


@pytest.mark.parametrize(("top_k", "count"), [(None, 4), (0, 0), (2, 2), (9, 4), (np.int64(1), 1)])
def test_top_k(lexical: Ranker, top_k: int | None, count: int) -> None:
    assert len(lexical.rank(QUERY, TEXTS, top_k=top_k)) == count


@pytest.mark.parametrize("top_k", [-1, 1.5, "2", True])
def test_top_k_that_is_no_count_is_refused(lexical: Ranker, top_k: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"top_k.*expected a whole number from 0"):
        lexical.rank(QUERY, TEXTS, top_k=top_k)


@pytest.mark.parametrize(
    ("query", "documents", "message"),
    [
        (QUERY, "a single text", r"documents: a single str; give a list"),
        (QUERY, b"bytes", r"documents: a single bytes"),
        (QUERY, {"a": 1}, r"documents: dict is no sequence"),
        (QUERY, {"a"}, r"documents: set is no sequence"),
        (QUERY, {"a": "b"}.items(), r"documents: dict_items is no sequence"),
        (QUERY, 3, r"documents: int, expected a sequence"),
        (QUERY, None, r"documents: NoneType, expected a sequence"),
        (QUERY, pd.DataFrame({"text": TEXTS}), r"documents: DataFrame is no sequence"),
        (QUERY, np.array([TEXTS]), r"documents: ndarray is no sequence"),
        (QUERY, np.array("text"), r"documents: ndarray is no sequence"),
        (QUERY, ["a", 3], r"documents\[1\]: int, expected a text"),
        (QUERY, ["a", {"text": "b"}], r"documents\[1\]: dict, expected a text"),
        (QUERY, ["a", ["b"]], r"documents\[1\]: list, expected a text"),
        (QUERY, [b"a"], r"documents\[0\]: bytes, expected a text"),
        (QUERY, ["a", "b\ud800"], r"documents\[1\]: character 1 is half of a surrogate pair"),
        ("\udc80", ["a"], r"query: character 0 is half of a surrogate pair"),
        (None, ["a"], r"query: NoneType, expected a text"),
        (["q"], ["a"], r"query: list, expected a text"),
    ],
)
def test_what_is_no_text_is_named(
    lexical: Ranker, query: Any, documents: Any, message: str
) -> None:
    for call in (lexical.score, lexical.rank):
        with pytest.raises(ConfigurationError, match=message):
            call(query, documents)


@pytest.mark.parametrize(
    "options",
    [
        {"device": "cpu"},
        {"device": torch.device("cpu")},
        {"dtype": torch.float32},
        {"device": "cpu:0"},
    ],
)
def test_devices_and_dtypes_as_text_or_torchs_own(options: dict[str, Any]) -> None:
    ranker = load(MINILM, family="cross_encoder", **options)
    assert ranker.score("q", ["a"]).shape == (1,)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("lexical", {"device": "mps"}, "device: 'mps' is not one that is run here"),
        ("lexical", {"device": "cuda:x"}, "device: 'cuda:x' is not one"),
        ("lexical", {"device": 0}, "device: '0' is not one"),
        (MINILM, {"family": "cross_encoder", "device": "cuda:99"}, "torch sees"),
        ("lexical", {"dtype": torch.float64}, "'engine.dtype'.*float32.*got 'float64'"),
        ("lexical", {"max_len": 3}, "unknown key 'model.settings.max_len'"),
        ("lexical", {"packing": "tight"}, "'engine.packing'"),
        ("lexicall", {}, "did you mean 'lexical'"),
        (3, {}, "model: int, expected the name of a card"),
        ("lexical", {"adapter": 5}, "adapter: int, expected the folder, URI or hub id"),
        ("lexical", {"images": 5}, "images: int, expected a mapping"),
        ("lexical", {"images": ["/data"]}, "images: list, expected a mapping"),
        ("s3://key:hunter22@bucket/m", {"family": "cross_encoder"}, "holds credentials"),
    ],
)
def test_wrong_options_are_named(model: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load(model, **options)
    assert "hunter22" not in str(caught.value)


def test_a_name_may_be_an_enumeration() -> None:
    assert load(Card.CHEAP).score_scale == "overlap"


def test_what_overflows_in_float16_is_scored_once_more_in_float32(tmp_path: Path) -> None:
    folder = overflowing(MINILM, tmp_path / "model", word="shoes")
    exact = load(folder, family="cross_encoder", device="cpu", dtype="float32")
    wanted = exact.score("blue", TEXTS)
    assert np.isfinite(wanted).all()
    assert exact.engine.statistics.rescored == 0
    half = load(folder, family="cross_encoder", device="cpu", dtype="float16")
    found = half.score("blue", TEXTS)
    assert half.engine.statistics.rescored == 2
    again = [place for place, text in enumerate(TEXTS) if "shoes" in text]
    np.testing.assert_allclose(found[again], wanted[again], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-2)
    assert [row.score for row in half.rank("blue", TEXTS)].count(None) == 0


def test_it_is_scored_once_more_with_the_weights_that_were_loaded(tmp_path: Path) -> None:
    folder = overflowing(MINILM, tmp_path / "model", word="shoes")
    ranker = load(folder, family="cross_encoder", device="cpu", dtype="float16")
    shutil.copy(MINILM / "model.safetensors", folder)
    assert np.isfinite(ranker.score("blue", ["red paint"])).all(), "nothing to score once more"
    with pytest.raises(ModelError, match=r"model\.safetensors: not the file"):
        ranker.score("blue", TEXTS)
