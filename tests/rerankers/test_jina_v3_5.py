"""jina-reranker-v3.5: layers that slide, against transformers' Qwen3Model and upstream's steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import api
from pipeline.checkpoints import cards
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.detection import family_of
from pipeline.errors import ModelError
from tests.rerankers.golden_work import GOLDENS, golden_work

GOLDEN = GOLDENS / "jina-reranker-v3-5-tiny"
CASES = {
    case["id"]: case
    for case in map(json.loads, (GOLDEN / "cases.jsonl").read_text("utf-8").splitlines())
}
DOCUMENTS = CASES["lengths"]["documents"]


def load(folder: Path = GOLDEN, **options: Any) -> api.Ranker:
    return api.load(str(folder), dtype="float32", device="cpu", **options)


def changed(folder: Path, **changes: Any) -> Path:
    """The golden with another config.json; a value of None takes the key out."""
    copy = shutil.copytree(GOLDEN, folder / "model")
    config = json.loads((copy / "config.json").read_text("utf-8")) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    (copy / "config.json").write_text(json.dumps(kept), "utf-8")
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("budget", [1, 60_000])
def test_scores_are_those_of_the_reference(packing: str, budget: int) -> None:
    for work in golden_work(GOLDEN.name):
        one = load(packing=packing, token_budget=budget, **work.settings)
        np.testing.assert_allclose(one.score_lists(work.lists), work.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("packing", ["packed", "padded"])
@pytest.mark.parametrize("said", [True, None])
def test_the_window_holds_whatever_use_sliding_window_says(
    tmp_path: Path, packing: str, said: bool | None
) -> None:
    """The golden's own file says false."""
    one = load(changed(tmp_path, use_sliding_window=said), packing=packing)
    case = CASES["lengths"]
    scores = one.score(case["query"], case["documents"])
    np.testing.assert_allclose(scores, case["expected"]["scores_by_index"], rtol=0, atol=1e-4)


def test_windows_matter_to_the_golden(tmp_path: Path) -> None:
    blind = load(changed(tmp_path, layer_types=["full_attention"] * 5))
    for name in ("published", "lengths", "windows_by_number"):
        case = CASES[name]
        off = blind.score(case["query"], case["documents"]) - case["expected"]["scores_by_index"]
        assert np.abs(off).max() > 0.1


def test_no_beginning_is_shared_where_layers_slide() -> None:
    """Windows of documents begin alike; a layer that slides does not see all of that beginning."""
    assert not load().engine.share_prefixes
    assert load(GOLDENS / "jina-reranker-v3", family="jina_v3").engine.share_prefixes


def test_limits_are_those_of_the_version(tmp_path: Path) -> None:
    family: Any = load().engine.reranker
    assert (family.max_query_length, family.max_doc_length) == (1024, 8192)
    assert family.max_length == 131_072
    older: Any = load(changed(tmp_path, layer_types=["full_attention"] * 5)).engine.reranker
    assert (older.max_query_length, older.max_doc_length) == (512, 2048)
    asked: Any = load(max_query_length=7, max_doc_length=9).engine.reranker
    assert (asked.max_query_length, asked.max_doc_length) == (7, 9)


def test_the_case_of_the_limits_reaches_past_those_of_version_3() -> None:
    family: Any = load().engine.reranker
    case = CASES["limits_of_the_version"]
    query, document = family.tokenizer.encode([case["query"], case["documents"][0]]).lengths
    assert query > 1024
    assert document > 2048


def test_layers_that_slide_without_a_window_are_refused(tmp_path: Path) -> None:
    folder = changed(tmp_path)
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"sliding_window": None}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="sliding_window is None, expected the number of tokens"):
        load(folder)


def test_the_family_is_known_by_the_architecture() -> None:
    assert family_of(Checkpoint(GOLDEN))[0] == "jina_v3"


def test_the_card() -> None:
    card = cards.read("jina-reranker-v3.5")
    assert (card.family, card.weights) == ("jina_v3", "jinaai/jina-reranker-v3.5")
    assert card.settings == {"max_query_length": 1024, "max_doc_length": 8192}
