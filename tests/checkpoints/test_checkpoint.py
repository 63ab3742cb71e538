"""A checkpoint that is damaged, incomplete or of another kind is refused, and the message helps."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.api import load
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.locating import locate
from pipeline.errors import ConfigurationError, ModelError, NotFoundError

FAMILIES = {
    "bge-reranker-tiny": "cross_encoder",
    "jina-reranker-v2-tiny": "jina_v2",
    "jina-reranker-v1-turbo-tiny": "jina_v1",
}
TENSORS = {
    "bge-reranker-tiny": "roberta.encoder.layer.1.intermediate.dense.weight",
    "jina-reranker-v2-tiny": "roberta.encoder.layers.1.mlp.fc1.weight",
    "jina-reranker-v1-turbo-tiny": "bert.encoder.layer.1.mlp.gated_layers.weight",
}
#: What the tensor is called inside the network.
LOADED = TENSORS | {
    "jina-reranker-v2-tiny": "roberta.encoder.layer.1.intermediate.dense.weight",
}


def broken(
    goldens: Path, tmp_path: Path, name: str, change: Callable[[dict[str, Any]], None]
) -> str:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(goldens / name, tmp_path / name)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return str(folder)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_tensor(goldens: Path, tmp_path: Path, name: str) -> None:
    folder = broken(goldens, tmp_path, name, lambda tensors: tensors.pop(TENSORS[name]))
    with pytest.raises(ModelError, match=f"missing tensor '{LOADED[name]}'"):
        load(folder, family=FAMILIES[name], device="cpu")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_renamed_tensor(goldens: Path, tmp_path: Path, name: str) -> None:
    def rename(tensors: dict[str, Any]) -> None:
        tensors["other.name"] = tensors.pop(TENSORS[name])

    folder = broken(goldens, tmp_path, name, rename)
    with pytest.raises(ModelError) as caught:
        load(folder, family=FAMILIES[name], device="cpu")
    assert "unexpected tensor 'other.name'" in str(caught.value)
    assert f"missing tensor '{LOADED[name]}'" in str(caught.value)
    assert folder in str(caught.value)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_shape(goldens: Path, tmp_path: Path, name: str) -> None:
    def widen(tensors: dict[str, Any]) -> None:
        import torch

        tensors[TENSORS[name]] = torch.cat([tensors[TENSORS[name]]] * 2, dim=1)

    folder = broken(goldens, tmp_path, name, widen)
    with pytest.raises(ModelError, match=rf"'{LOADED[name]}' has shape \[\d+, 96\], expected"):
        load(folder, family=FAMILIES[name], device="cpu")


def test_a_stored_buffer_carries_nothing(goldens: Path, tmp_path: Path) -> None:
    """Old checkpoints store position ids; the golden does, and loads with or without."""
    from safetensors.torch import load_file

    buffer = "roberta.embeddings.position_ids"
    assert buffer in load_file(goldens / "bge-reranker-tiny" / "model.safetensors")
    folder = broken(goldens, tmp_path, "bge-reranker-tiny", lambda tensors: tensors.pop(buffer))
    with_it = load(str(goldens / "bge-reranker-tiny"), family="cross_encoder", device="cpu")
    without = load(folder, family="cross_encoder", device="cpu")
    assert with_it.score("q", ["d"]).tolist() == without.score("q", ["d"]).tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_only_a_pickle(goldens: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(goldens / name, tmp_path / name)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin, a pickle.*convert it"):
        load(str(folder), family=FAMILIES[name], device="cpu")


def test_no_weights(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no \*\.safetensors file"):
        load(str(folder), family="cross_encoder", device="cpu")


def test_a_torn_weights_file(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors: not readable as safetensors"):
        load(str(folder), family="cross_encoder", device="cpu")


def test_a_shard_that_the_index_names_is_missing(goldens: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    index = '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    with pytest.raises(ModelError, match=r"no model-2\.safetensors"):
        load(str(folder), family="cross_encoder", device="cpu")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file(goldens: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model")
    (folder / name).unlink()
    with pytest.raises((ModelError, NotFoundError), match=f"no {name}"):
        load(str(folder), family="cross_encoder", device="cpu")


def test_a_configuration_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json: not valid JSON"):
        _ = Checkpoint(tmp_path).config


def test_another_digest(goldens: Path) -> None:
    checkpoint = Checkpoint(goldens / "bge-reranker-tiny")
    with pytest.raises(ModelError, match=r"sha256 is [0-9a-f]{64}, expected 00"):
        checkpoint.check_sha256("00")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder at"):
        locate(str(tmp_path / "absent"))
    with pytest.raises(NotFoundError, match=r"no config\.json"):
        locate(str(tmp_path))
    with pytest.raises(ConfigurationError, match="needs the commit"):
        locate("owner/name")


@pytest.mark.parametrize("dtype", ["int8", "int32", "bool", "complex64"])
@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_of_another_kind(goldens: Path, tmp_path: Path, name: str, dtype: str) -> None:
    """Quantised weights without a word of it in config.json would be taken for fractions."""
    import torch

    def convert(tensors: dict[str, Any]) -> None:
        tensors[TENSORS[name]] = tensors[TENSORS[name]].to(getattr(torch, dtype))

    folder = broken(goldens, tmp_path, name, convert)
    with pytest.raises(ModelError, match=f"tensor '{LOADED[name]}' holds {dtype}, expected float"):
        load(folder, family=FAMILIES[name], device="cpu")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors", "/etc/passwd", "inner/a.safetensors", ".hidden.safetensors",
        "a.bin", "..", "", "a\\b.safetensors", "a\n.safetensors", None, 7, ["a.safetensors"],
    ],
)  # fmt: skip
def test_an_index_names_files_of_the_folder_only(
    goldens: Path, tmp_path: Path, name: object
) -> None:
    """What lies elsewhere is not listed, hashed, fetched or copied with the checkpoint."""
    folder = Path(shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model"))
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    index = {"weight_map": {"classifier.out_proj.bias": name, "other": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"index\.json: tensor 'classifier\.out_proj\.bias' is in"):
        load(str(folder), family="cross_encoder", device="cpu")


@pytest.mark.parametrize("weight_map", [None, [], {}, "model.safetensors", True])
def test_an_index_without_a_table_of_files(
    goldens: Path, tmp_path: Path, weight_map: object
) -> None:
    folder = Path(shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model"))
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"index\.json: 'weight_map' names no files"):
        load(str(folder), family="cross_encoder", device="cpu")


@pytest.mark.parametrize("content", ["null", "[]", "7", '"text"', "[" * 100_000, "{", "\xff"])
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"]
)
def test_a_file_that_holds_no_keys(goldens: Path, tmp_path: Path, name: str, content: str) -> None:
    folder = Path(shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model"))
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match=f"{name}: (not valid JSON|holds )"):
        load(str(folder), family="cross_encoder", device="cpu")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(
    goldens: Path, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(goldens / "bge-reranker-tiny", tmp_path / "model"))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=f"{name}: is no regular file"):
        load(str(folder), family="cross_encoder", device="cpu")
