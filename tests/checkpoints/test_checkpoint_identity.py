"""What a process reads of a checkpoint is what the run was planned with, or it is refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api import Ranker
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config import EngineConfig, ModelConfig
from pipeline.engine.build import build_engine, build_reranker
from pipeline.errors import ModelError, NotFoundError

FAMILIES = {
    "bge-reranker-tiny": "cross_encoder",
    "jina-colbert-v2-tiny": "late_interaction",
    "qwen3-reranker-tiny": "qwen3_reranker",
    "qwen3-seq-cls-tiny": "decoder_classifier",
    "jina-reranker-v3": "jina_v3",
}
DOCUMENTS = ["a document about rays", "another one", "queries and units of data"]


def config_of(folder: Path | str, family: str, **settings: Any) -> ModelConfig:
    return ModelConfig(family=family, weights=str(folder), settings=settings)


def planned(config: ModelConfig) -> Checkpoint:
    """What the driver knows of a checkpoint."""
    checkpoint = build_reranker(config).checkpoint
    assert checkpoint.files
    return checkpoint


def scores(config: ModelConfig, files: Mapping[str, str] | None) -> np.ndarray:
    """What a process that was given the plan's files scores."""
    return ranker_of(config, files).score("a query", DOCUMENTS)


def ranker_of(config: ModelConfig, files: Mapping[str, str] | None) -> Ranker:
    build = partial(build_reranker, config)
    reranker = build(files=files)
    engine = build_engine(reranker, EngineConfig(), "cpu", rebuild=lambda own: build(files=own))
    return Ranker(engine)


def other(path: Path) -> None:
    """Other bytes of the same kind and length, which change what is read."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".safetensors":
        data[-1] ^= 1
    else:
        place = data.rindex(b"}")
        data[place:] = b" " + data[place:-1] if data[place:].endswith(b"\n") else b" }"
    path.write_bytes(data)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_changed_file_is_refused_by_name_or_was_never_read(
    goldens: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(goldens / name, tmp_path / "model")
    config = config_of(folder, FAMILIES[name])
    checkpoint = planned(config)
    before = scores(config, checkpoint.files)
    np.testing.assert_array_equal(before, scores(config, None))
    read = {n for n, found in checkpoint._seen.items() if found != "absent"}
    must = {"config.json", "tokenizer.json", "model.safetensors"}
    assert must <= checkpoint.files.keys()
    assert read <= checkpoint.files.keys()
    for file in checkpoint.files:
        whole = (folder / file).read_bytes()
        other(folder / file)
        assert planned(config).digest != checkpoint.digest
        if file in must | read:
            with pytest.raises(ModelError, match=rf"{file}: not the file that the run was planned"):
                scores(config, checkpoint.files)
        else:
            np.testing.assert_array_equal(scores(config, checkpoint.files), before)
        (folder / file).write_bytes(whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_that_was_not_there_is_refused_where_it_would_be_read(
    goldens: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(goldens / name, tmp_path / "model")
    config = config_of(folder, FAMILIES[name])
    checkpoint = planned(config)
    build_reranker(config, files=checkpoint.files)
    absent = {n for n, found in checkpoint._seen.items() if found == "absent"}
    assert "model.safetensors.index.json" in absent
    for file in sorted(absent):
        (folder / file).write_text('{"weight_map": {"a": "model.safetensors"}}', encoding="utf-8")
        with pytest.raises(ModelError, match=rf"{file}: not the file .* expected absent"):
            scores(config, checkpoint.files)
        (folder / file).unlink()
    (folder / "README.md").write_text("# of no concern", encoding="utf-8")
    scores(config, checkpoint.files)


def test_a_file_that_is_gone_is_refused(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    config = config_of(folder, "cross_encoder")
    files = planned(config).files
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: .*sha256 is absent"):
        build_reranker(config, files=files)
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match="no folder at"):
        build_reranker(config, files=files)


def test_shards_are_known_one_by_one(goldens: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    config = config_of(folder, "cross_encoder")
    names = sorted(tensors)
    parts = {f"part-{place}.safetensors": names[place::7] for place in range(7)}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, folder / file)
    checkpoint = planned(config)
    assert parts.keys() <= checkpoint.files.keys()
    whole = config_of(goldens / "bge-reranker-tiny", "cross_encoder")
    np.testing.assert_array_equal(scores(config, checkpoint.files), scores(whole, None))
    save_file({"extra": tensors[names[0]]}, folder / "part-9.safetensors")
    with pytest.raises(ModelError, match=r"part-9\.safetensors: not the file that the run was"):
        scores(config, checkpoint.files)
    (folder / "part-9.safetensors").unlink()
    other(folder / "part-5.safetensors")
    with pytest.raises(ModelError, match=r"part-5\.safetensors: not the file that the run was"):
        scores(config, checkpoint.files)


def test_what_changes_while_a_run_is_planned_is_refused(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    checkpoint = build_reranker(config_of(folder, "cross_encoder")).checkpoint
    other(folder / "config.json")
    with pytest.raises(ModelError, match=r"config\.json: became another file while the run was"):
        _ = checkpoint.files


def test_a_swap_after_loading_does_not_matter(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    config = config_of(folder, "cross_encoder")
    ranker = ranker_of(config, planned(config).files)
    before = ranker.score("a query", DOCUMENTS)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        other(folder / file)
    np.testing.assert_array_equal(ranker.score("a query", DOCUMENTS), before)


def test_a_snapshot_of_a_hub_is_verified_behind_its_links(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of a hub's cache: names that point to blobs."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--owner--name" / "snapshots" / commit
    folder.mkdir(parents=True)
    for path in (goldens / "bge-reranker-tiny").iterdir():
        blob = shutil.copy(path, tmp_path / f"blob-{path.name}")
        (folder / path.name).symlink_to(blob)
    config = ModelConfig(family="cross_encoder", weights="owner/name", revision=commit)
    files = planned(config).files
    assert files == planned(config_of(goldens / "bge-reranker-tiny", "cross_encoder")).files
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(tmp_path / "blob-tokenizer_config.json")
    with pytest.raises(ModelError, match=r"tokenizer\.json: not the file"):
        build_reranker(config, files=files)
