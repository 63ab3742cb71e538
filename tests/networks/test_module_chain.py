"""Chains of modules as the installed sentence-transformers saves them, against its own forward."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.sentence_transformers import module_chain
from pipeline.errors import ModelError
from pipeline.networks.module_chain import load_chain

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
CPU = torch.device("cpu")


def save(folder: Path, parts: list[Any]) -> Checkpoint:
    """A tiny body with the library's own modules behind it, as the library writes them."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    body = modules.Transformer(str(GOLDENS / "ms-marco-minilm-tiny"))
    pooling = modules.Pooling(body.get_embedding_dimension(), "cls")
    SentenceTransformer(modules=[body, pooling, *parts], device="cpu").save_pretrained(str(folder))
    return Checkpoint(folder)


def random_parts() -> list[Any]:
    """Two Dense of one class, a residual of another width, and a norm with a bias."""
    from sentence_transformers.sentence_transformer import modules

    torch.manual_seed(3)
    norm = modules.LayerNorm(20)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    return [
        modules.Dense(48, 20, bias=False, activation_function=torch.nn.GELU()),
        norm,
        modules.Dropout(0.5),
        modules.Dense(20, 20, activation_function=torch.nn.SiLU(), use_residual=True),
        modules.Dense(20, 3, use_residual=True, module_output_name="scores"),
    ]


@pytest.fixture(scope="module")
def parts() -> list[Any]:
    return random_parts()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, parts: list[Any]) -> Checkpoint:
    return save(tmp_path_factory.mktemp("chain") / "model", parts)


@pytest.fixture
def copied(saved: Checkpoint, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved.folder, tmp_path / "copy"))


def layers_of(checkpoint: Checkpoint) -> tuple[Any, ...]:
    return module_chain.layers(checkpoint, module_chain.modules(checkpoint)[2:], width=48)


def test_modules_in_order_and_classes_may_repeat(saved: Checkpoint) -> None:
    found = module_chain.modules(saved)
    assert [m.kind for m in found] == [
        "Transformer", "Pooling", "Dense", "LayerNorm", "Dense", "Dense",
    ]  # fmt: skip
    assert [m.folder for m in found][:4] == ["", "1_Pooling", "2_Dense", "3_LayerNorm"]
    assert module_chain.modules(Checkpoint(GOLDENS / "ms-marco-minilm-tiny")) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_vectors_are_those_of_the_library(
    saved: Checkpoint, parts: list[Any], dtype: torch.dtype
) -> None:
    """A body of lower precision is upcast, and the chain computes in float32."""
    vectors = torch.randn(5, 48, generator=torch.Generator().manual_seed(4)).to(dtype)
    features = {"sentence_embedding": vectors.float()}
    with torch.inference_mode():
        for part in parts:
            features = part(features)
        found = load_chain(saved, layers_of(saved), device=CPU)(vectors)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, features["scores"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", module_chain.ACTIVATIONS)
def test_activations_are_torch_s(name: str, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer import modules

    part = modules.Dense(48, 4, activation_function=getattr(torch.nn, name)())
    checkpoint = save(tmp_path / "model", [part])
    vectors = torch.randn(3, 48)
    with torch.inference_mode():
        expected = part({"sentence_embedding": vectors})["sentence_embedding"]
        found = load_chain(checkpoint, layers_of(checkpoint), device=CPU)(vectors)
    torch.testing.assert_close(found, expected)


def change(folder: Path, name: str, **keys: Any) -> Checkpoint:
    path = folder / name
    kept = json.loads(path.read_text("utf-8")) | keys
    path.write_text(json.dumps({k: v for k, v in kept.items() if v != "gone"}), "utf-8")
    return Checkpoint(folder)


def test_an_activation_that_is_not_named_is_tanh(copied: Path) -> None:
    checkpoint = change(copied, "2_Dense/config.json", activation_function="gone")
    assert layers_of(checkpoint)[0].activation == "Tanh"


def test_pylate_s_dense_is_known_and_reads_what_it_is_told(copied: Path) -> None:
    modules = json.loads((copied / "modules.json").read_text("utf-8"))
    modules[2]["type"] = "pylate.models.Dense.Dense"
    (copied / "modules.json").write_text(json.dumps(modules), "utf-8")
    for key in ("module_input_name", "module_output_name"):
        change(copied, "2_Dense/config.json", **{key: "gone"})
    checkpoint = Checkpoint(copied)
    module = module_chain.modules(checkpoint)[2]
    found = module_chain.dense(checkpoint, module, reads="token_embeddings")
    assert (found.reads, found.writes) == ("token_embeddings", "token_embeddings")


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("2_Dense", {"dropout": 0.1}, "key 'dropout'"),
        ("2_Dense", {"activation_function": "theirs.Swish"}, "'theirs.Swish' is not understood"),
        ("2_Dense", {"activation_function": "torch.hub.load"}, "torch.hub.load"),
        ("2_Dense", {"in_features": 47}, "takes 47 numbers.*gives 48"),
        ("2_Dense", {"in_features": "48"}, "in_features is '48'"),
        (
            "2_Dense",
            {"module_output_name": "other"},
            "of 'sentence_embedding'.*gives 20 of 'other'",
        ),
        ("3_LayerNorm", {"dimension": 21}, "takes 21 numbers.*gives 20"),
        ("3_LayerNorm", {"eps": 1e-6}, "key 'eps'"),
    ],
)
def test_what_would_change_vectors_is_refused_by_name(
    copied: Path, name: str, keys: dict[str, Any], says: str
) -> None:
    checkpoint = change(copied, f"{name}/config.json", **keys)
    with pytest.raises(ModelError, match=rf"config\.json: .*{says}"):
        layers_of(checkpoint)


def test_every_tensor_of_a_module_is_accounted_for(copied: Path) -> None:
    layers = layers_of(Checkpoint(copied))
    path = copied / "3_LayerNorm/model.safetensors"
    tensors = load_file(path)
    del tensors["norm.bias"]
    save_file(tensors | {"more": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"3_LayerNorm: unexpected.*'more'; missing.*'norm\.bias'"):
        load_chain(Checkpoint(copied), layers, device=CPU)


def test_weights_of_modules_are_hashed_and_checked_as_the_root_s(copied: Path) -> None:
    planned = Checkpoint(copied).files
    path = copied / "2_Dense/model.safetensors"
    assert "2_Dense/model.safetensors" in planned
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    given = Checkpoint(copied, expected=planned)
    with pytest.raises(ModelError, match="not the file that the run was planned with"):
        load_chain(given, layers_of(given), device=CPU)


def test_pickles_of_modules_are_refused_with_the_way_out(copied: Path) -> None:
    path = copied / "2_Dense/model.safetensors"
    path.rename(path.with_name("pytorch_model.bin"))
    with pytest.raises(ModelError, match=r"2_Dense: only pytorch_model\.bin.*convert it once"):
        layers_of(Checkpoint(copied))
    path.with_name("pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"2_Dense: no \*\.safetensors file"):
        layers_of(Checkpoint(copied))
