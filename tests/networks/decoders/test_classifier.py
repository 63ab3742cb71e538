"""Heads on decoders give the logits of transformers' own classes, whichever side those pad."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForSequenceClassification, LlamaModel

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.engine.packing import gather
from pipeline.errors import ModelError
from pipeline.networks.decoders.classifier import load_classifier, read_last, read_pooled
from pipeline.networks.decoders.loading import PACKABLE
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

CPU = torch.device("cpu")
PADDING = 0
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 4}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "mistral": ("mistral", {"sliding_window": 4}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gemma": ("gemma", {"head_dim": 16}),
    "gemma2": ("gemma2", GEMMA | {"attn_logit_softcapping": 5.0, "layer_types": LAYERS}),
    "gemma3": ("gemma3_text", GEMMA | {"layer_types": LAYERS}),
}
WAYS = [
    (name, way) for name in KINDS for way in (False, True) if KINDS[name][0] in PACKABLE or not way
]
LENGTHS = (11, 1, 7, 3)

Tensors = dict[str, torch.Tensor]


def drawn(network: Any) -> Any:
    """Norms and biases begin as ones and zeros, which would hide where they are left out."""
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


def written(
    folder: Path, name: str, *, labels: int = 1, change: Callable[[Tensors], Any] = lambda _: None
) -> Any:
    """A checkpoint on disk that names no padding, and transformers' network that it is of."""
    kind, changes = KINDS[name]
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, **(SIZES | changes), num_labels=labels, pad_token_id=0)
    network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    tensors = {name: tensor.clone() for name, tensor in drawn(network).state_dict().items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    values = {"model_type": kind, **SIZES, **changes}
    (folder / "config.json").write_text(json.dumps(values), "utf-8")
    return network


def load(folder: Path, name: str, *, packed: bool, labels: int = 1, causal: bool = True) -> Any:
    return load_classifier(
        Checkpoint(folder),
        kind=KINDS[name][0],
        labels=labels,
        causal=causal,
        packed=packed,
        device=CPU,
        dtype=torch.float32,
    )


def batch() -> tuple[Batch, list[np.ndarray[Any, Any]]]:
    """Sequences of different lengths, none of which holds the padding's id."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 50, length).astype(np.int32) for length in LENGTHS]
    edges = np.append(0, np.cumsum(LENGTHS)).astype(np.int64)
    last = (np.diff(edges) - 1).astype(np.int32)
    unit = Sequences.one_readout_each(np.concatenate(rows), edges, positions=last)
    return gather(unit, np.arange(len(rows)), CPU), rows


def matrix(rows: list[Any], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64 [b, longest], padded on one side."""
    width = max(map(len, rows))
    ids = np.full((len(rows), width), PADDING, dtype=np.int64)
    mask = np.zeros_like(ids)
    for line, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[line, place], mask[line, place] = row, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize(("name", "packed"), WAYS)
def test_logits_of_the_last_token(tmp_path: Path, name: str, packed: bool, labels: int) -> None:
    upstream = written(tmp_path, name, labels=labels)
    network = load(tmp_path, name, packed=packed, labels=labels)
    flat, rows = batch()
    with torch.inference_mode():
        ours = read_last(network, flat, packed=packed)
        for side in ("left", "right"):
            ids, mask = matrix(rows, side)
            theirs = upstream(input_ids=ids, attention_mask=mask).logits
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("packed", [True, False])
def test_logits_of_the_mean_of_all_tokens(tmp_path: Path, packed: bool) -> None:
    """transformers' Llama without a mask of what comes later, and the mean of its last states."""
    upstream = written(tmp_path, "llama")
    config = upstream.config
    config.is_causal = False
    body = LlamaModel(config).eval()
    body.load_state_dict(upstream.model.state_dict())
    network = load(tmp_path, "llama", packed=packed, causal=False)
    flat, rows = batch()
    with torch.inference_mode():
        ours = read_pooled(network, flat, packed=packed)
        ids, mask = matrix(rows, "left")
        states = body(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        torch.testing.assert_close(ours, upstream.score(mean), atol=1e-5, rtol=0)
        alone = body(input_ids=torch.from_numpy(rows[2].astype(np.int64))[None]).last_hidden_state
        first = upstream.score(alone[0].mean(0))
        torch.testing.assert_close(ours[2], first, atol=1e-5, rtol=0)


def without_prefix(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.startswith("model.")]:
        tensors[name.removeprefix("model.")] = tensors.pop(name)


def with_output_layer(tensors: Tensors) -> None:
    tensors["lm_head.weight"] = torch.zeros(SIZES["vocab_size"], SIZES["hidden_size"])


@pytest.mark.parametrize("change", [without_prefix, with_output_layer])
def test_layouts_of_conversions(tmp_path: Path, change: Callable[[Tensors], Any]) -> None:
    flat, _ = batch()
    for folder in (tmp_path / "as saved", tmp_path / "converted"):
        folder.mkdir()
    written(tmp_path / "as saved", "qwen3")
    written(tmp_path / "converted", "qwen3", change=change)
    saved, converted = (
        read_last(load(tmp_path / name, "qwen3", packed=True), flat, packed=True)
        for name in ("as saved", "converted")
    )
    assert torch.equal(saved, converted)


def test_a_bias_counts(tmp_path: Path) -> None:
    flat, _ = batch()
    written(tmp_path, "qwen2", change=lambda t: t.update({"score.bias": torch.tensor([2.0])}))
    network = load(tmp_path, "qwen2", packed=True)
    logits = read_last(network, flat, packed=True)
    network["score"].bias.data.zero_()
    torch.testing.assert_close(logits, read_last(network, flat, packed=True) + 2.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.pop("score.weight"), r"missing tensor 'score\.weight'"),
        (lambda t: t.pop("model.norm.weight"), r"missing tensor 'model\.norm\.weight'"),
        (
            lambda t: t.update({"norm.weight": t["model.norm.weight"] + 1}),
            r"unexpected tensor '(model\.model\.norm|norm)\.weight'",
        ),
        (
            lambda t: t.update({"lm_head.weight": torch.zeros(1, 32)}),
            r"unexpected tensor 'lm_head\.weight'",
        ),
        (
            lambda t: t.update({"score.weight": torch.zeros(2, 32)}),
            r"'score\.weight' has shape \[2, 32\], expected \[1, 32\]",
        ),
        (
            lambda t: t.update({"score.dense.weight": torch.zeros(2, 32)}),
            r"unexpected tensor 'score\.dense\.weight'",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: Callable[[Tensors], Any], told: str
) -> None:
    written(tmp_path, "llama", change=change)
    with pytest.raises(ModelError, match=told):
        load(tmp_path, "llama", packed=True)
