"""Decoders from checkpoints: every stored tensor has its place in a packed network, or is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.engine.packing import gather
from pipeline.errors import ModelError
from pipeline.networks.decoders.loading import can_pack, load_log_odds, read_log_odds
from pipeline.sequences.sequences import Sequences

CPU = torch.device("cpu")
ANSWERS = (7, 3)
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": 4}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
}
IDS = np.random.default_rng(0).integers(0, 50, 11).astype(np.int32)

Tensors = dict[str, torch.Tensor]


def written(folder: Path, name: str, change: Callable[[Tensors], Any] = lambda _: None) -> Any:
    """A checkpoint on disk, and transformers' network that it is of."""
    kind, changes = KINDS[name]
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, **(SIZES | changes))
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    values = {"model_type": kind, **SIZES, **changes}
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    return network


def load(folder: Path, name: str, *, packed: bool = True, dtype: Any = torch.float32) -> Any:
    return load_log_odds(
        Checkpoint(folder),
        kind=KINDS[name][0],
        answers=ANSWERS,
        packed=packed,
        device=CPU,
        dtype=dtype,
    )


def log_odds(network: Any, *, packed: bool = True) -> float:
    edges = np.array([0, len(IDS)], dtype=np.int64)
    last = np.array([len(IDS) - 1], dtype=np.int32)
    unit = Sequences.one_readout_each(IDS, edges, positions=last)
    with torch.inference_mode():
        return float(read_log_odds(network, gather(unit, np.array([0]), CPU), packed=packed))


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_checkpoint_answers_as_upstream_does(tmp_path: Path, name: str) -> None:
    network = written(tmp_path, name)
    with torch.inference_mode():
        logits = network(torch.from_numpy(IDS.astype(np.int64))[None]).logits[0, -1]
    wanted = float(logits[ANSWERS[0]] - logits[ANSWERS[1]])
    assert abs(log_odds(load(tmp_path, name)) - wanted) < 1e-5
    if KINDS[name][0] == "qwen3":
        padded = load(tmp_path, name, packed=False)
        assert abs(log_odds(padded, packed=False) - wanted) < 1e-5


def test_the_body_is_converted_and_the_head_is_not(tmp_path: Path) -> None:
    written(tmp_path, "qwen3")
    network = load(tmp_path, "qwen3", dtype=torch.bfloat16)
    assert {p.dtype for p in network["model"].parameters()} == {torch.bfloat16}
    assert network["lm_head"].weight.dtype == torch.float32
    assert np.isfinite(log_odds(network))


def test_old_buffers_carry_nothing(tmp_path: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)

    written(tmp_path, "llama", change)
    load(tmp_path, "llama")


ATTENTION = "model.layers.{}.self_attn.{}"


@pytest.mark.parametrize(
    "part",
    [
        ATTENTION.format(0, "k_proj.weight"),
        ATTENTION.format(0, "v_proj.bias"),
        ATTENTION.format(1, "q_proj.weight"),
        ATTENTION.format(1, "v_proj.weight"),
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.1.mlp.gate_proj.bias",
        "model.layers.1.post_attention_layernorm.weight",
        "model.norm.weight",
        "lm_head.weight",
    ],
)
def test_a_part_of_a_fused_product_is_missed_by_its_stored_name(tmp_path: Path, part: str) -> None:
    written(tmp_path, "llama", lambda tensors: tensors.pop(part))
    with pytest.raises(ModelError, match=rf": missing tensor '{part}'\. The file"):
        load(tmp_path, "llama")


@pytest.mark.parametrize("layer", [0, 1])
def test_a_wrong_shape_is_named(tmp_path: Path, layer: int) -> None:
    part = ATTENTION.format(layer, "k_proj.weight")

    def change(tensors: Tensors) -> None:
        tensors[part] = tensors[part][:-1].contiguous()

    written(tmp_path, "qwen2", change)
    with pytest.raises(ModelError, match=rf"'{part}' has shape \[15, 32\], expected \[16, 32\]"):
        load(tmp_path, "qwen2")


@pytest.mark.parametrize("part", ["q_proj.bias", "o_proj.bias", "qkv_proj.weight", "q_norm.weight"])
def test_what_the_family_has_not_is_unexpected(tmp_path: Path, part: str) -> None:
    name = ATTENTION.format(0, part)

    def change(tensors: Tensors) -> None:
        tensors[name] = torch.zeros(32)

    written(tmp_path, "mistral", change)
    with pytest.raises(ModelError, match=f"unexpected tensor '{name}'"):
        load(tmp_path, "mistral")


def test_no_part_of_a_packed_decoder_is_of_transformers(tmp_path: Path) -> None:
    """Importing its networks takes longer than reading a small checkpoint."""
    written(tmp_path, "qwen3")
    made = {type(module).__module__ for module in load(tmp_path, "qwen3").modules()}
    assert not [name for name in made if name.startswith("transformers")]


@pytest.mark.parametrize(
    ("changes", "packs"),
    [
        ({}, True),
        ({"rope_scaling": None}, True),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, True),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, False),
        ({"rope_parameters": {"rope_type": "longrope"}}, False),
        ({"rope_scaling": "x"}, True),
        ({"hidden_act": "gelu"}, False),
        ({"model_type": "gpt2"}, False),
    ],
)
def test_which_decoders_run_packed(changes: dict[str, Any], packs: bool) -> None:
    assert can_pack({"model_type": "llama", **changes}) == packs
