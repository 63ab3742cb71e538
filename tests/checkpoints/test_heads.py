"""Heads by their number of labels, whether config.json says so or only the weights do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import load
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.heads import label_scores, labels_of
from pipeline.config import ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ConfigurationError, ModelError

QUERY, DOCUMENTS = "open a zip archive", ["Open a ZIP archive with zipfile.", "A red coat.", ""]

CROSS_ENCODERS = ("ms-marco-minilm-tiny", "bge-reranker-tiny", "mxbai-rerank-tiny")
FAMILIES = {
    **dict.fromkeys(CROSS_ENCODERS, "cross_encoder"),
    "jina-reranker-v1-turbo-tiny": "jina_v1",
    "jina-reranker-v2-tiny": "jina_v2",
}
LABELS = ("id2label", "label2id", "num_labels")


def with_head(source: Path, folder: Path, *, rows: int, **config: Any) -> Path:
    """A copy whose last layer has ``rows`` rows; config.json says of labels what ``config`` does.

    With two, the second row is the old one and the first its opposite, as a head has them that was
    trained with "not relevant" and "relevant".
    """
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, folder)
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.startswith("classifier.") and len(tensors[name]) == 1:
            tensors[name] = torch.cat([-tensors[name]] * (rows - 1) + [tensors[name]])
    save_file(tensors, folder / "model.safetensors")
    stated = json.loads((folder / "config.json").read_text("utf-8"))
    kept = {key: value for key, value in stated.items() if key not in LABELS}
    (folder / "config.json").write_text(json.dumps(kept | config), "utf-8")
    return folder


def scores(folder: Path, family: str = "cross_encoder", **settings: Any) -> np.ndarray:
    return load(str(folder), family=family, device="cpu", **settings).score(QUERY, DOCUMENTS)


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - set(CROSS_ENCODERS)))
def test_a_head_with_several_rows_is_refused_before_anything_is_loaded(
    goldens: Path, tmp_path: Path, name: str, rows: int
) -> None:
    """Families whose published heads have one row."""
    folder = with_head(goldens / name, tmp_path / "model", rows=rows)
    model = ModelConfig(family=FAMILIES[name], weights=str(folder))
    with pytest.raises(ModelError, match=rf"the head has {rows} labels"):
        build_reranker(model)


@pytest.mark.parametrize("name", CROSS_ENCODERS)
@pytest.mark.parametrize("config", [{}, {"num_labels": 2}], ids=["untold", "told"])
def test_two_labels_score_as_the_log_odds_of_the_second(
    goldens: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    """transformers writes no labels where there are two; the order is that of one label."""
    one = scores(goldens / name)
    folder = with_head(goldens / name, tmp_path / "model", rows=2, **config)
    np.testing.assert_allclose(scores(folder), 2 * one, atol=1e-5)
    probabilities = scores(folder, activation="sigmoid")
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-2 * one)), atol=1e-6)


def test_three_labels_need_grades(goldens: Path, tmp_path: Path) -> None:
    folder = with_head(goldens / CROSS_ENCODERS[0], tmp_path / "model", rows=3)
    model = ModelConfig(family="cross_encoder", weights=str(folder))
    with pytest.raises(ModelError, match=r"the head has 3 labels.*model\.settings\.grades"):
        build_reranker(model)
    one = scores(goldens / CROSS_ENCODERS[0]).astype(float)
    weights = np.exp(np.stack([-one, -one, one], axis=1))
    expected = weights @ [0, 1, 3] / weights.sum(axis=1)
    np.testing.assert_allclose(scores(folder, grades=[0, 1, 3]), expected, atol=1e-5)
    graded = load(str(folder), family="cross_encoder", device="cpu", grades=(0, 1, 3))
    assert graded.score_scale == "expected_grade"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grades": [0, 1]}, r"grades: 2 grades, but the head .* has 3 labels"),
        ({"grades": [0, 1, 3], "activation": "sigmoid"}, "activation: 'sigmoid' has no meaning"),
        ({"grades": [0, float("nan"), 3]}, "grades"),
        ({"grades": [1]}, "grades"),
    ],
)
def test_grades_that_make_no_score_are_refused(
    goldens: Path, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    folder = with_head(goldens / CROSS_ENCODERS[0], tmp_path / "model", rows=3)
    with pytest.raises(ConfigurationError, match=says):
        build_reranker(ModelConfig(family="cross_encoder", weights=str(folder), settings=settings))


@pytest.mark.parametrize(
    "config", [{"num_labels": 2}, {"id2label": {"0": "no", "1": "yes"}}, {"num_labels": 3}]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_that_config_json_gives_several_labels_is_refused(
    goldens: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    """The weights have one."""
    folder = with_head(goldens / name, tmp_path / "model", rows=1, **config)
    with pytest.raises(ModelError, match=r"config\.json: the head has [23] labels"):
        build_reranker(ModelConfig(family=FAMILIES[name], weights=str(folder)))


@pytest.mark.parametrize("config", [{}, {"num_labels": 1}, {"id2label": {"0": "x"}}])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_with_one_row_scores_whatever_is_said_of_labels(
    goldens: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    expected = scores(goldens / name, FAMILIES[name])
    folder = with_head(goldens / name, tmp_path / "model", rows=1, **config)
    np.testing.assert_array_equal(scores(folder, FAMILIES[name]), expected)


def test_labels_of_decoders_are_rows_of_their_score(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text('{"num_labels": 4}')
    save_file({"score.weight": torch.zeros(4, 8)}, tmp_path / "model.safetensors")
    assert labels_of(Checkpoint(tmp_path)) == 4
    (tmp_path / "config.json").write_text('{"num_labels": "4"}')
    with pytest.raises(ModelError, match="the head has 4 labels, but by"):
        labels_of(Checkpoint(tmp_path))


def test_scores_of_logits_that_are_far_apart() -> None:
    logits = np.array([[500.0, -500.0], [-500.0, 500.0], [3.0, 3.0]], dtype=np.float32)
    assert label_scores(logits).tolist() == [-1000.0, 1000.0, 0.0]
    assert label_scores(logits, grades=(0.0, 2.0)).tolist() == [0.0, 2.0, 1.0]
    assert label_scores(logits[:, :1]).tolist() == [500.0, -500.0, 3.0]
    assert label_scores(logits, grades=(0.0, 2.0)).dtype == np.float32
