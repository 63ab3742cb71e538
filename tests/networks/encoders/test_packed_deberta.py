"""DeBERTa-v2 without padding, against transformers' own class on each sequence alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engine.packing import gather
from pipeline.networks.encoders.kinds import packs
from pipeline.networks.encoders.packed_deberta import Distances, groups_of
from pipeline.networks.encoders.packed_encoder import PackedClassifier
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

LENGTHS = (3, 90, 32, 33, 1, 64, 90, 5)

SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
    "initializer_range": 0.4,
    "num_labels": 1,
    "relative_attention": True,
    "norm_rel_ebd": "layer_norm",
    "pooler_hidden_size": 32,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
}

VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {"position_buckets": 16, "share_att_key": True, "position_biased_input": False},
    "every distance": {"share_att_key": False, "position_biased_input": False},
    "biased input and types": {"type_vocab_size": 2, "position_buckets": 8},
    "narrow embeddings": {"embedding_size": 16, "position_buckets": 16},
    "one kind": {"pos_att_type": ["c2p"], "share_att_key": True, "position_buckets": 16},
    "the other kind": {"pos_att_type": ["p2c"], "position_buckets": 16},
    "no kind": {"pos_att_type": [], "norm_rel_ebd": "none", "position_buckets": 16},
}


def network_of(variant: str) -> Any:
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

    torch.manual_seed(3)
    config = DebertaV2Config(**SIZES | VARIANTS[variant])
    assert packs(config.to_dict())
    return DebertaV2ForSequenceClassification(config).eval()


def batch_of(lengths: tuple[int, ...], *, types: int) -> Batch:
    chance = np.random.default_rng(7)
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    ids = chance.integers(1, SIZES["vocab_size"], offsets[-1]).astype(np.int32)
    segments = chance.integers(0, 2, offsets[-1]).astype(np.int8) if types > 1 else None
    sequences = Sequences.one_readout_each(ids, offsets, segment_ids=segments)
    return gather(sequences, np.arange(len(lengths)), torch.device("cpu"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_those_of_each_sequence_alone(variant: str) -> None:
    network = network_of(variant)
    types = network.config.type_vocab_size
    batch = batch_of(LENGTHS, types=types)
    ids = torch.from_numpy(batch.token_ids).long().split(LENGTHS)
    segments = [None] * len(ids)
    if types > 1:
        segments = torch.from_numpy(batch.segment_ids).long().split(LENGTHS)  # type: ignore[assignment]
    with torch.inference_mode():
        expected = [
            network(
                input_ids=row[None], token_type_ids=None if kinds is None else kinds[None]
            ).logits.item()
            for row, kinds in zip(ids, segments, strict=True)
        ]
        found = PackedClassifier(network, "deberta-v2")(batch)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4, rtol=0)
    assert np.ptp(expected) > 0.1


def test_groups_hold_every_token_once() -> None:
    lengths = np.array(LENGTHS)
    groups = groups_of(lengths, torch.device("cpu"))
    assert [group.width for group in groups.groups] == [32, 64, 90]
    flat = torch.cat([group.rows.flatten()[group.inside] for group in groups.groups])
    assert flat[groups.order].tolist() == list(range(lengths.sum()))


def test_distances_are_transformers_buckets() -> None:
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    config = network_of("as published").config
    table = Distances(config).table(90, torch.device("cpu"))
    states = torch.zeros(1, 90, 1)
    expected = build_relative_position(states, states, bucket_size=16, max_position=96)[0] + 16
    assert torch.equal(table.index + table.used.start, expected.clamp(0, 31))


@pytest.mark.parametrize("config", [{"relative_attention": False}, {"conv_kernel_size": 3}])
def test_what_reaches_over_the_end_of_a_sequence_is_padded(config: dict[str, Any]) -> None:
    assert not packs(SIZES | {"model_type": "deberta-v2"} | config)
