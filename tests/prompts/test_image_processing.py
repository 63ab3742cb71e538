"""What a checkpoint says is done to images is done as transformers does it, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config import ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ModelError
from pipeline.prompts.image_processing import ImageProcessing
from pipeline.prompts.qwen2_vl import Layout, flat_config

GOLDEN = Path(__file__).resolve().parents[1] / "goldens/jina-reranker-m0"
DEFAULT = {"shortest_edge": 3_136, "longest_edge": 1_003_520}


def folder_with(tmp_path: Path, **files: Any) -> Checkpoint:
    folder = Path(shutil.copytree(GOLDEN, tmp_path / "model"))
    (folder / "preprocessor_config.json").unlink()
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Checkpoint(folder)


def processing(checkpoint: Checkpoint) -> ImageProcessing:
    return ImageProcessing.of(checkpoint, Layout.of(checkpoint))


@pytest.mark.parametrize(
    "stated",
    [
        {"min_pixels": 5_000, "max_pixels": 90_000},
        {"size": {"shortest_edge": 5_000, "longest_edge": 90_000}},
        {
            "size": {"shortest_edge": 1, "longest_edge": 2},
            "min_pixels": 5_000,
            "max_pixels": 90_000,
        },
        {"min_pixels": 5_000, "max_pixels": None, "size": DEFAULT},
        {"image_mean": [0.5, 0.25, 0.125], "image_std": [0.5, 1, 2], "size": DEFAULT},
        {"rescale_factor": 0.0078125, "size": DEFAULT, "do_resize": None},
    ],
)
@pytest.mark.parametrize("place", ["preprocessor_config", "processor_config"])
def test_sizes_and_colours_are_those_of_transformers(
    tmp_path: Path, place: str, stated: dict[str, Any]
) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    given = {key: value for key, value in stated.items() if value is not None}
    theirs = Qwen2VLImageProcessorPil(**json.loads(json.dumps(given)))
    inside = place == "processor_config"
    ours = processing(
        folder_with(tmp_path, **{place: {"image_processor": stated} if inside else stated})
    )
    size = theirs.size
    assert (ours.min_pixels, ours.max_pixels) == (size["shortest_edge"], size["longest_edge"])
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    expected = theirs.normalize(
        theirs.rescale(image.transpose(2, 0, 1), theirs.rescale_factor),
        theirs.image_mean,
        theirs.image_std,
    ).reshape(3, 256)
    assert np.allclose(ours.levels, expected, rtol=0, atol=1e-6)


def test_the_part_of_a_processor_is_read_before_the_old_file(tmp_path: Path) -> None:
    ours = processing(
        folder_with(
            tmp_path,
            preprocessor_config={"max_pixels": 1_000},
            processor_config={"image_processor": {"max_pixels": 2_000}},
        )
    )
    assert ours.max_pixels == 2_000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_resize", False), ("do_rescale", False), ("do_normalize", False), ("resample", 2),
        ("patch_size", 16), ("merge_size", 1), ("temporal_patch_size", 1), ("size", 7),
        ("image_mean", [0.5]), ("image_mean", 0.5), ("image_std", [0, 1, 1]),
        ("image_std", [1, 1, "1"]), ("rescale_factor", "1/255"), ("max_pixels", "many"),
        ("min_pixels", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["preprocessor_config", "processor_config"])
def test_what_would_change_pixels_is_refused_when_a_run_is_planned(
    tmp_path: Path, place: str, key: str, value: object
) -> None:
    stated: dict[str, Any] = {key: value}
    inside = place == "processor_config"
    checkpoint = folder_with(tmp_path, **{place: {"image_processor": stated} if inside else stated})
    with pytest.raises(ModelError, match=f"{place}.json: {key} "):
        build_reranker(ModelConfig(family="jina_m0", weights=str(checkpoint.folder)))


@pytest.mark.parametrize("text_config", [None, {}])
def test_a_language_model_that_is_described_beside_a_null(
    tmp_path: Path, text_config: object
) -> None:
    """transformers takes the flat keys where ``text_config`` is null."""
    checkpoint = folder_with(tmp_path)
    path = checkpoint.folder / "config.json"
    config = json.loads(path.read_text())
    expected = flat_config(checkpoint)
    path.write_text(json.dumps(config | {"text_config": text_config}))
    found = flat_config(Checkpoint(checkpoint.folder))
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(("outer", "inner"), [(True, False), (False, True), (None, True)])
def test_an_output_is_tied_where_either_place_says_so(
    tmp_path: Path, outer: bool | None, inner: bool
) -> None:
    from transformers import Qwen2VLConfig

    checkpoint = folder_with(tmp_path)
    path = checkpoint.folder / "config.json"
    config = json.loads(path.read_text())
    del config["torch_dtype"]
    text = {key: config[key] for key in config if key not in ("vision_config", "model_type")}
    nested = config | {"text_config": text | {"tie_word_embeddings": inner}}
    nested["tie_word_embeddings"] = outer
    path.write_text(json.dumps(nested))
    theirs = Qwen2VLConfig(**{k: v for k, v in nested.items() if v is not None})
    assert flat_config(Checkpoint(checkpoint.folder))["tie_word_embeddings"] is True
    assert theirs.tie_word_embeddings is True


@pytest.mark.parametrize("key", ["text_config", "vision_config"])
def test_a_part_that_is_no_table_is_refused(tmp_path: Path, key: str) -> None:
    checkpoint = folder_with(tmp_path)
    path = checkpoint.folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "wide"}))
    with pytest.raises(ModelError, match=f"config.json: {key} is 'wide'"):
        build_reranker(ModelConfig(family="jina_m0", weights=str(checkpoint.folder)))
