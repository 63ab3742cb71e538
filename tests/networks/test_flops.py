from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, Qwen2VLConfig, Qwen2VLModel

from pipeline.bench.models.shapes import SHAPES
from pipeline.networks.flops import Network, image_flops, shape_of, text_flops
from pipeline.sequences.sequences import Sequences


def sequences(lengths: list[int], parents: list[int] | None = None) -> Sequences:
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    read = len(lengths) if parents is None else sum(parent >= 0 for parent in parents)
    return Sequences(
        token_ids=np.ones(offsets[-1], dtype=np.int32),
        offsets=offsets,
        readout_positions=np.zeros(read, dtype=np.int32),
        readout_offsets=np.minimum(np.arange(len(lengths) + 1), read),
        parents=None if parents is None else np.array(parents, dtype=np.int64),
    )


@pytest.mark.parametrize(("rows", "length"), [(1, 9), (3, 17)])
def test_an_encoder_costs_what_torch_counts(rows: int, length: int) -> None:
    config = SHAPES["minilm-l6"].config_of("tiny")
    known = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    network = BertModel(
        BertConfig(**known, attn_implementation="eager"), add_pooling_layer=False
    ).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.ones(rows, length, dtype=torch.int64))
    assert text_flops(config, sequences([length] * rows)) == counter.get_total_flops()


def test_the_vision_tower_costs_what_torch_counts() -> None:
    config = SHAPES["jina-m0"].config_of("tiny")
    known = {k: v for k, v in config.items() if k not in ("model_type", "architectures")}
    whole = Qwen2VLConfig(**known)
    whole.vision_config._attn_implementation = "eager"
    network = Qwen2VLModel(whole).visual.eval()
    patches = 8 * 6
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(patches, 1176), grid_thw=torch.tensor([[1, 8, 6]]))
    counted = counter.get_total_flops()
    assert image_flops(config, patches=patches, images=1) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize(
    ("name", "length", "gflop"),
    [
        ("minilm-l6", 512, 13.3),
        ("jina-turbo", 1024, 38.7),
        ("jina-tiny", 512, 11.3),
        ("xlmr-base", 1024, 212.6),
    ],
)
def test_real_shapes_cost_what_was_worked_out_apart(name: str, length: int, gflop: float) -> None:
    counted = text_flops(SHAPES[name].config, sequences([length])) / 1e9
    assert counted == pytest.approx(gflop, rel=0.005)


def test_pages_cost_what_was_worked_out_apart() -> None:
    tower = image_flops(SHAPES["jina-m0"].config, patches=3_072, images=1)
    assert tower / 1e12 == pytest.approx(5.46, rel=0.005)


@given(st.integers(1, 200), st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_a_shared_beginning_costs_once(beginning: int, ends: list[int]) -> None:
    config = SHAPES["qwen3-0.6b"].config
    shared = sequences([*ends, beginning], [*[len(ends)] * len(ends), -1])
    whole = text_flops(config, shared.unshared())
    saved = (len(ends) - 1) * text_flops(config, sequences([beginning]))
    assert text_flops(config, shared) == pytest.approx(whole - saved)


def test_a_causal_token_sees_what_stands_before_it() -> None:
    network = Network(per_token=0, per_seen=1, causal=True)
    assert network.flops(np.array([4])) == 1 + 2 + 3 + 4
    assert Network(per_token=0, per_seen=1, causal=False).flops(np.array([4])) == 16


@pytest.mark.parametrize("name", ["minilm-l6", "qwen3-0.6b"])
@given(lengths=st.lists(st.integers(1, 2_000), min_size=1, max_size=20))
def test_the_mean_length_follows_from_tokens_and_operations(name: str, lengths: list[int]) -> None:
    network = Network.of(SHAPES[name].config_of("real"))
    own = np.array(lengths, dtype=np.int64)
    found = network.mean_length(tokens=float(own.sum()), flops=network.flops(own))
    assert found == pytest.approx((own**2).sum() / own.sum(), rel=1e-6)


def test_networks_that_cost_the_same_have_one_shape() -> None:
    shapes = {name: shape_of(shape.config_of("real")) for name, shape in SHAPES.items()}
    assert shapes["xlmr-base"] == shapes["jina-v2"]
    assert shapes["qwen3-0.6b"] == shapes["jina-v3"]
    assert len(set(shapes.values())) == len(shapes) - 2
