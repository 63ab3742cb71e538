"""Networks over flat batches: the same rows as one sequence at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModel

from pipeline.engine.packing import gather, packed_batches
from pipeline.networks.encoders.jina_bert import JinaBertReranker, Shape
from pipeline.networks.encoders.packed_encoder import PackedEncoder
from pipeline.networks.linears.cpu import BlockedLinear, block_linears
from pipeline.networks.packed import attention_plan, mean, roberta_positions
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

CPU = torch.device("cpu")
TOLERANCE = {"atol": 2e-5, "rtol": 0}
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "initializer_range": 0.3,  # large enough for attention to choose, small enough for float32
}
EXTRA: dict[str, dict[str, Any]] = {
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 3},
}
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


def network(kind: str, **changes: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **(SIZES | EXTRA.get(kind, {}) | changes))
    body = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return body.eval().requires_grad_(False)


def sequences(lengths: list[int], *, last: bool = False) -> Sequences:
    """Of ids that include the padding's, as a literal ``<pad>`` in a text may."""
    edges = np.append(0, np.cumsum(lengths)).astype(np.int64)
    ids = np.random.default_rng(5).integers(0, 50, edges[-1]).astype(np.int32)
    places = np.array(lengths, dtype=np.int32) - 1 if last else None
    return Sequences.one_readout_each(ids, edges, positions=places)


def whole_batch(unit: Sequences) -> Batch:
    [leaves] = packed_batches(unit, 10**9)
    return gather(unit, leaves, CPU)


def alone(body: Any, batch: Batch) -> list[torch.Tensor]:
    """[length, hidden] of each sequence, by transformers' own attention."""
    edges = batch.offsets.tolist()
    rows = [batch.token_ids[a:b] for a, b in pairwise(edges)]
    inputs = [torch.from_numpy(row.astype(np.int64))[None] for row in rows]
    return [body(input_ids=ids).last_hidden_state[0] for ids in inputs]


#: In float64: two float32 results may each be near to it and yet farther from one another.
BODIES = {kind: network(kind).double() for kind in ("bert", "xlm-roberta", "modernbert")}
PACKED = {kind: PackedEncoder(network(kind), kind) for kind in BODIES}
PACKED_WHOLE = {kind: PackedEncoder(network(kind), kind, reads="all") for kind in BODIES}


@pytest.mark.parametrize("kind", sorted(BODIES))
@settings(max_examples=15)
@given(LENGTHS)
def test_an_encoder_gives_what_it_gives_alone(kind: str, lengths: list[int]) -> None:
    batch = whole_batch(sequences(lengths))
    with torch.inference_mode():
        wanted = [rows.float() for rows in alone(BODIES[kind], batch)]
        first = PACKED[kind](batch)
        every = PACKED_WHOLE[kind](batch)
    torch.testing.assert_close(first, torch.stack([rows[0] for rows in wanted]), **TOLERANCE)
    torch.testing.assert_close(every, torch.cat(wanted), **TOLERANCE)
    torch.testing.assert_close(
        mean(every, batch.lengths), torch.stack([rows.mean(0) for rows in wanted]), **TOLERANCE
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 3},  # the last layer sees its neighbourhood alone
        {"num_hidden_layers": 1},
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True},
        {"hidden_activation": "silu"},
    ],
    ids=["local last layer", "one layer", "biases", "another gate"],
)
def test_modernbert_in_its_variants(changes: dict[str, Any]) -> None:
    body = network("modernbert", **changes)
    packed = PackedEncoder(network("modernbert", **changes), "modernbert")
    batch = whole_batch(sequences([20, 13, 2]))
    with torch.inference_mode():
        wanted = torch.stack([rows[0] for rows in alone(body, batch)])
        torch.testing.assert_close(packed(batch), wanted, **TOLERANCE)


FAMILIES = st.lists(
    st.tuples(st.integers(1, 12), st.lists(st.integers(1, 9), min_size=1, max_size=3)),
    min_size=1,
    max_size=3,
)


def shared(families: list, lonely: list[int], *, readouts: int) -> Sequences:
    """Sequences with beginnings, and some without, each read at its last tokens."""
    leaves = [(leaf, i) for i, (_, group) in enumerate(families) for leaf in group]
    leaves += [(length, -1) for length in lonely]
    order = np.random.default_rng(2).permutation(len(leaves))
    lengths = [leaves[i][0] for i in order] + [root for root, _ in families]
    own = [leaves[i][1] for i in order]
    parents = [parent if parent < 0 else len(leaves) + parent for parent in own]
    counts = [min(readouts, n) for n in lengths[: len(leaves)]] + [0] * len(families)
    places = [n - c + j for n, c in zip(lengths, counts, strict=True) for j in range(c)]
    return replace(
        sequences(lengths),
        readout_positions=np.array(places, dtype=np.int32),
        readout_offsets=np.append(0, np.cumsum(counts)).astype(np.int64),
        parents=np.array(parents + [-1] * len(families), dtype=np.int64),
    )


def test_beginnings_out_of_order_are_refused() -> None:
    unit = shared([(3, [2, 2]), (4, [1])], [], readouts=1)
    batch = whole_batch(unit)
    assert batch.parents is not None
    mixed = replace(batch, parents=np.concatenate([batch.parents[:2], batch.parents[2:][::-1]]))
    with pytest.raises(ValueError, match="in the order"):
        attention_plan(mixed, causal=True)
    with pytest.raises(ValueError, match="what follows"):
        attention_plan(batch, causal=False)


def test_roberta_numbers_a_literal_padding_token_as_padding() -> None:
    ids, ends, lengths = (torch.tensor(n) for n in ([5, 1, 7, 8, 1, 1], [3, 6], [3, 3]))
    places = roberta_positions(ids, ends, lengths, 1)
    assert places.tolist() == [2, 1, 3, 2, 1, 1]


JINA = Shape(
    vocab_size=50,
    type_vocab_size=2,
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=40,
    layer_norm_eps=1e-5,
    feed_forward_type="geglu",
)


def jina(*, packed: bool) -> JinaBertReranker:
    torch.manual_seed(4)
    return JinaBertReranker(JINA, pad_id=1, packed=packed).eval().requires_grad_(False)


@settings(max_examples=15)
@given(LENGTHS)
def test_alibi_side_by_side_is_alibi_in_a_matrix(lengths: list[int]) -> None:
    batch = whole_batch(sequences(lengths))
    with torch.inference_mode():
        torch.testing.assert_close(jina(packed=True)(batch), jina(packed=False)(batch), **TOLERANCE)


def test_blocked_weights_change_nothing_but_speed() -> None:
    body, blocked = network("bert"), network("bert")
    block_linears(blocked)
    layers = [module for module in blocked.modules() if isinstance(module, BlockedLinear)]
    assert [layer.activation for layer in layers].count("gelu") == 4
    assert len(layers) == 25
    ids = torch.arange(40).view(2, 20)
    with torch.inference_mode():
        torch.testing.assert_close(
            blocked(input_ids=ids).last_hidden_state, body(input_ids=ids).last_hidden_state,
            **TOLERANCE,
        )  # fmt: skip


def test_weights_with_another_use_stay_as_they_are() -> None:
    table = torch.nn.Embedding(6, 4)
    tied, hooked, half = (torch.nn.Linear(4, 6, bias=False) for _ in range(3))
    tied.weight = table.weight
    hooked.register_forward_pre_hook(lambda _, args: args)
    half.half()
    parts = torch.nn.ModuleList([table, tied, hooked, half, torch.nn.Linear(4, 6)])
    block_linears(parts)
    assert [type(part) is BlockedLinear for part in parts] == [False] * 4 + [True]
