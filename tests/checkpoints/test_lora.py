"""An adapter is merged as PEFT merges it, whatever family reads the weights."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.api import Ranker, load
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.lora import AdaptedCheckpoint
from pipeline.checkpoints.naming import settled
from pipeline.config import ModelConfig
from pipeline.errors import ConfigurationError, ModelError, NotFoundError

QUERY = "how are seats of government chosen"
DOCUMENTS = ["Paris is the capital of France.", "", "Bananas are yellow. 🍌 " * 30]

#: The base, the family, and the adapter with what PEFT merged it into.
BY_PEFT = [
    ("ms-marco-minilm-tiny", "cross_encoder", "lora-bert-tiny"),
    ("qwen3-reranker-tiny", "qwen3_reranker", "lora-qwen3-tiny"),
]

#: Families without a golden of PEFT's, with a part of the names of linear layers.
BY_HAND = [
    ("jina-reranker-v3", "jina_v3", "self_attn.q_proj"),
    ("jina-colbert-v2-tiny", "late_interaction", "mixer.Wqkv"),
    ("jina-reranker-v2-tiny", "jina_v2", "mlp.fc1"),
    ("jina-reranker-v1-tiny-tiny", "jina_v1", "attention.self.query"),
]


def merged_by_hand(base: Path, changed: dict[str, torch.Tensor], folder: Path) -> Path:
    shutil.copytree(base, folder)
    tensors = load_file(base / "model.safetensors") | changed
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors")
    return folder


def score(place: Path, family: str, **options: Any) -> Any:
    ranker: Ranker = load(place, family=family, device="cpu", dtype="float32", **options)
    return ranker.score(QUERY, DOCUMENTS)


@pytest.mark.parametrize(("base", "family", "adapter"), BY_PEFT)
def test_scores_are_those_of_the_network_that_peft_merged(
    goldens: Path, tmp_path: Path, base: str, family: str, adapter: str
) -> None:
    wanted = load_file(goldens / adapter / "merged.safetensors")
    stored = load_file(goldens / base / "model.safetensors")
    ours = dict(AdaptedCheckpoint.of(Checkpoint(goldens / base), str(goldens / adapter)).tensors())
    assert ours.keys() == stored.keys()
    for name, tensor in ours.items():
        reference = wanted.get(name, stored[name])
        torch.testing.assert_close(tensor.float(), reference.float(), atol=1e-6, rtol=0)
    whole = merged_by_hand(goldens / base, wanted, tmp_path / "merged")
    scores = score(goldens / base, family, adapter=goldens / adapter)
    np.testing.assert_allclose(scores, score(whole, family), atol=1e-5)
    assert np.abs(scores - score(goldens / base, family)).max() > 1e-3


@pytest.mark.parametrize(("base", "family", "part"), BY_HAND)
def test_any_family_takes_an_adapter(
    goldens: Path, tmp_path: Path, base: str, family: str, part: str
) -> None:
    """``W + (alpha / r) B A``, written out."""
    generator = torch.Generator().manual_seed(3)
    factors, changed = {}, {}
    for name, tensor in load_file(goldens / base / "model.safetensors").items():
        if part in name and name.endswith(".weight"):
            down = torch.randn(2, tensor.shape[1], generator=generator) * 0.1
            up = torch.randn(tensor.shape[0], 2, generator=generator) * 0.1
            module = f"base_model.model.{name.removesuffix('.weight')}"
            factors |= {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
            changed[name] = tensor.float() + 3.0 * (up @ down)
    assert changed
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    save_file(factors, adapter / "adapter_model.safetensors")
    whole = merged_by_hand(goldens / base, changed, tmp_path / "merged")
    scores = score(goldens / base, family, adapter=adapter)
    np.testing.assert_allclose(scores, score(whole, family), atol=1e-5)


def test_a_head_that_the_base_does_not_have_comes_from_the_adapter(
    goldens: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(goldens / "ms-marco-minilm-tiny", base)
    tensors = load_file(base / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "classifier" not in name}
    save_file(kept, base / "model.safetensors")
    adapter = str(goldens / "lora-bert-tiny")
    checkpoint = AdaptedCheckpoint.of(Checkpoint(base), adapter)
    assert {n: tuple(t.shape) for n, t in checkpoint.tensors()} == checkpoint.shapes()
    np.testing.assert_array_equal(
        score(base, "cross_encoder", adapter=adapter),
        score(goldens / "ms-marco-minilm-tiny", "cross_encoder", adapter=adapter),
    )


@pytest.fixture
def alone(goldens: Path, tmp_path: Path) -> Path:
    """An adapter that names a folder of this machine as its base."""
    folder = tmp_path / "alone"
    shutil.copytree(goldens / "lora-bert-tiny", folder)
    return folder


def names_base(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_adapter_alone_brings_its_base(goldens: Path, alone: Path) -> None:
    base = goldens / "ms-marco-minilm-tiny"
    names_base(alone, base_model_name_or_path=str(base))
    section = settled(ModelConfig(name=str(alone)))
    assert (section.weights, section.adapter) == (str(base), str(alone))
    assert settled(section) == section
    np.testing.assert_array_equal(
        load(alone).score(QUERY, DOCUMENTS), score(base, "cross_encoder", adapter=alone)
    )


@pytest.mark.parametrize(
    ("base", "error", "message"),
    [
        (None, ModelError, "names no base; set model.weights"),
        (7, ModelError, "names no base; set model.weights"),
        ("/home/somebody/else/base", NotFoundError, "no folder of this machine and no hub id"),
        ("s3://bucket/base", NotFoundError, "no folder of this machine and no hub id"),
        ("package:os", NotFoundError, "no folder of this machine and no hub id"),
    ],
)
def test_an_adapter_alone_whose_base_is_not_here(
    alone: Path, base: object, error: type[Exception], message: str
) -> None:
    names_base(alone, base_model_name_or_path=base)
    with pytest.raises(error, match=message):
        settled(ModelConfig(name=str(alone)))


def test_another_base_is_a_warning_where_it_was_chosen(
    goldens: Path, alone: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("pipeline"), "propagate", True)
    base = str(goldens / "ms-marco-minilm-tiny")
    for chosen in ({"name": base}, {"name": "ms-marco-minilm-l6-v2", "weights": base}):
        caplog.clear()
        settled(ModelConfig(adapter=str(alone), **chosen))
        assert "was made for 'teams/ms-marco-minilm-tiny', and the weights are" in caplog.text
    caplog.clear()
    names_base(alone, base_model_name_or_path=base)
    settled(ModelConfig(name=base, adapter=str(alone)))
    assert "was made for" not in caplog.text


def test_another_base_is_refused_where_a_card_chose_it(alone: Path) -> None:
    with pytest.raises(ModelError, match=r"was made for 'teams/ms-marco-minilm-tiny'.*package:"):
        settled(ModelConfig(name="all-minilm-l6-v2", adapter=str(alone)))


def test_an_adapter_needs_weights_and_is_one(goldens: Path, tmp_path: Path, alone: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"model\.adapter: .* needs weights"):
        settled(ModelConfig(name="lexical", adapter=str(alone)))
    base = str(goldens / "ms-marco-minilm-tiny")
    with pytest.raises(NotFoundError, match=r"model\.adapter: no adapter_config\.json in"):
        settled(ModelConfig(name=base, adapter=str(tmp_path)))
    with pytest.raises(NotFoundError, match="holds a LoRA adapter alone"):
        load(alone, adapter=alone, family="cross_encoder")
    (alone / "adapter_model.safetensors").rename(alone / "adapter_model.bin")
    with pytest.raises(ModelError, match="a pickle file"):
        load(base, adapter=alone)
