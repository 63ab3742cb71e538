"""A head with several labels is refused, whether config.json says so or only the weights do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import load
from pipeline.config import ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ModelError

QUERY, DOCUMENTS = "open a zip archive", ["Open a ZIP archive with zipfile.", "A red coat.", ""]

FAMILIES = {
    "ms-marco-minilm-tiny": "cross_encoder",
    "bge-reranker-tiny": "cross_encoder",
    "mxbai-rerank-tiny": "cross_encoder",
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


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_with_several_rows_is_refused_before_anything_is_loaded(
    goldens: Path, tmp_path: Path, name: str, rows: int
) -> None:
    """transformers writes no labels where there are two."""
    folder = with_head(goldens / name, tmp_path / "model", rows=rows)
    model = ModelConfig(family=FAMILIES[name], weights=str(folder))
    with pytest.raises(ModelError, match=rf"classifier\S*': the head has {rows} labels"):
        build_reranker(model)


@pytest.mark.parametrize(
    "config", [{"num_labels": 2}, {"id2label": {"0": "no", "1": "yes"}}, {"num_labels": 3}]
)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_that_config_json_gives_several_labels_is_refused(
    goldens: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    folder = with_head(goldens / name, tmp_path / "model", rows=1, **config)
    with pytest.raises(ModelError, match=r"config\.json: the head has [23] labels"):
        build_reranker(ModelConfig(family=FAMILIES[name], weights=str(folder)))


@pytest.mark.parametrize("config", [{}, {"num_labels": 1}, {"id2label": {"0": "x"}}])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_with_one_row_scores_whatever_is_said_of_labels(
    goldens: Path, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    expected = load(str(goldens / name), family=FAMILIES[name], device="cpu")
    folder = with_head(goldens / name, tmp_path / "model", rows=1, **config)
    ranker = load(str(folder), family=FAMILIES[name], device="cpu")
    np.testing.assert_array_equal(ranker.score(QUERY, DOCUMENTS), expected.score(QUERY, DOCUMENTS))
