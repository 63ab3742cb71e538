"""Packed decoders give the states of transformers' own networks, one sequence at a time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModel,
    Qwen2VLTextConfig,
    Qwen2VLTextModel,
    Qwen3VLTextConfig,
    Qwen3VLTextModel,
)

from pipeline.engine.packing import gather, packed_batches
from pipeline.errors import ModelError
from pipeline.networks.decoders.loading import PACKABLE, read_decoder
from pipeline.networks.decoders.packed_decoder import PackedDecoder
from pipeline.networks.decoders.shape import DecoderShape
from pipeline.networks.linears.cpu import BlockedLinear, block_linears
from pipeline.networks.packed import pack
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from tests.networks.test_packed import FAMILIES, LENGTHS, sequences, shared, whole_batch

CPU = torch.device("cpu")
WHERE = Path("folder/config.json")

#: Of the largest state, which is 3 to 4: single precision rounds each in proportion to those that
#: it is summed from.
TOLERANCE = 1e-5
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "initializer_range": 0.3,
}


#: Positions that the rotary frequencies were made for before they were scaled.
SHORT = {"original_max_position_embeddings": 16}


def scaled(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 10_000.0, "rope_type": kind, **parameters}}


LLAMA_3 = scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, **SHORT)
FULL, SLIDING = "full_attention", "sliding_attention"

#: What published configurations of the families differ in, by a name.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma": ("gemma", {"head_dim": 16, "num_key_value_heads": 1}),
    "gemma, biased": ("gemma", {"head_dim": 8, "attention_bias": True}),
    "llama": ("llama", {}),
    "llama, a key for each head": ("llama", {"num_key_value_heads": 4, "head_dim": 12}),
    "llama, biased": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama 3": ("llama", LLAMA_3),
    "llama, linear": ("llama", scaled("linear", factor=4.0)),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral, windowed": ("mistral", {"sliding_window": 6}),
    "qwen2": ("qwen2", {"num_key_value_heads": 1}),
    "qwen2, windowed": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen2, windowed in the middle": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "layer_types": [FULL, SLIDING, FULL]},
    ),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3, biased": ("qwen3", {"head_dim": 16, "attention_bias": True}),
    "qwen3, yarn": ("qwen3", {"head_dim": 16, **scaled("yarn", factor=4.0, **SHORT)}),
    "qwen3, one layer": ("qwen3", {"head_dim": 16, "num_hidden_layers": 1}),
}


def upstream(name: str, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' body."""
    kind, changes = KINDS[name]
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **(SIZES | changes))
    body = AutoModel.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return drawn(body).to(dtype)


def drawn(body: Any) -> Any:
    """Norms and biases begin as ones and zeros, which would hide where they are left out."""
    for parameter in body.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return body.eval().requires_grad_(False)


def packed(name: str, body: Any, dtype: torch.dtype = torch.float32) -> PackedDecoder:
    shape = DecoderShape.of(body.config, kind=KINDS[name][0], where=WHERE)
    decoder = PackedDecoder(shape, dtype=dtype)
    copy_weights(body, decoder)
    return decoder


def copy_weights(body: Any, decoder: PackedDecoder) -> None:
    """The state dict of one is in the layout of the other."""
    decoder.eval().requires_grad_(False)
    state, stored = decoder.state_dict(), body.state_dict()
    assert state.keys() == stored.keys()
    for key, tensor in stored.items():
        state[key].copy_(tensor)


BODIES = {name: upstream(name) for name in KINDS}
PACKED = {name: packed(name, body) for name, body in BODIES.items()}


def alone(body: Any, batch: Batch) -> list[torch.Tensor]:
    """[length, hidden] of each sequence, by transformers' own attention."""
    rows = [batch.token_ids[a:b] for a, b in pairwise(batch.offsets.tolist())]
    inputs = [torch.from_numpy(row.astype(np.int64))[None] for row in rows]
    return [body(input_ids=ids).last_hidden_state[0] for ids in inputs]


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, atol=TOLERANCE * scale, rtol=0)


def test_every_kind_is_tried() -> None:
    assert {kind for kind, _ in KINDS.values()} == PACKABLE


@pytest.mark.parametrize("name", sorted(KINDS))
@settings(max_examples=8)
@given(LENGTHS, st.booleans())
def test_states_are_those_of_each_sequence_alone(name: str, lengths: list[int], last: bool) -> None:
    """Read at the last token, where that token alone asks, and at the first, where all must."""
    batch = whole_batch(sequences(lengths, last=last))
    with torch.inference_mode():
        wanted = [rows[-1 if last else 0] for rows in alone(BODIES[name], batch)]
        out = read_decoder(PACKED[name], batch, packed=True)
    assert_close(out, torch.stack(wanted))


def by_readout(body: Any, unit: Sequences, budget: int) -> torch.Tensor:
    """[R, hidden] in the order of the unit's readouts."""
    batches = packed_batches(unit, budget)
    rows = torch.cat([read_decoder(body, gather(unit, b, CPU), packed=True) for b in batches])
    counts = np.diff(unit.readout_offsets)
    order = np.concatenate(
        [np.arange(*unit.readout_offsets[leaf : leaf + 2]) for leaf in np.concatenate(batches)]
    )
    assert len(order) == counts.sum()
    out = torch.empty_like(rows)
    out[torch.from_numpy(order)] = rows
    return out


#: Those whose layers all see all that came before.
SHARING = ("llama 3", "qwen2", "qwen3")


@pytest.mark.parametrize("name", SHARING)
@settings(max_examples=15)
@given(
    FAMILIES,
    st.lists(st.integers(1, 9), max_size=2),
    st.sampled_from([1, 2]),
    st.sampled_from([16, 10**6]),
)
def test_a_shared_beginning_is_as_good_as_a_copy(
    name: str, families: list, lonely: list[int], readouts: int, budget: int
) -> None:
    unit = shared(families, lonely, readouts=readouts)
    with torch.inference_mode():
        once = by_readout(PACKED[name], unit, budget)
        copied = by_readout(PACKED[name], unit.unshared(), budget)
    torch.testing.assert_close(once, copied, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen3_vl"])
@pytest.mark.parametrize("sections", [[2, 1, 1], [1, 1, 2]])
def test_positions_of_three_axes(kind: str, sections: list[int]) -> None:
    """The text of Qwen2-VL and Qwen3-VL, where tokens of an image stand at rows and columns."""
    configuration, network = {
        "qwen2_vl": (Qwen2VLTextConfig, Qwen2VLTextModel),
        "qwen3_vl": (Qwen3VLTextConfig, Qwen3VLTextModel),
    }[kind]
    config = configuration(
        **SIZES,
        **({"head_dim": 8} if kind == "qwen3_vl" else {}),
        bos_token_id=None,
        eos_token_id=None,
        rope_parameters={"rope_type": "default", "mrope_section": sections, "rope_theta": 1e4},
    )
    body = drawn(network(config))
    decoder = PackedDecoder(DecoderShape.of(config, kind=kind, where=WHERE), dtype=torch.float32)
    copy_weights(body, decoder)
    batch = whole_batch(sequences([7, 9], last=True))
    flat = pack(batch, causal=True)
    positions = torch.randint(0, 40, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = [
            body(
                input_ids=flat.input_ids[:, a:b], position_ids=positions[:, None, a:b]
            ).last_hidden_state[0, -1]
            for a, b in pairwise(batch.offsets.tolist())
        ]
        states = decoder.embed_tokens(flat.input_ids[0])
        out = decoder(states, positions, flat.plan, flat.reading)
    assert_close(out, torch.stack(wanted))


@pytest.mark.parametrize("sections", [[2, 2], [2, 2, 2]])
def test_axes_that_do_not_make_up_a_head_are_refused(sections: list[int]) -> None:
    config = Qwen2VLTextConfig(
        **SIZES,
        bos_token_id=None,
        eos_token_id=None,
        rope_parameters={"rope_type": "default", "mrope_section": sections},
    )
    with pytest.raises(ModelError, match=r"mrope_section is .*half of a head's 8"):
        DecoderShape.of(config, kind="qwen2_vl", where=WHERE)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_bfloat16_is_no_further_from_float32_than_upstream(name: str) -> None:
    """By the mean over all states: single ones are a matter of luck."""
    batch = whole_batch(sequences([20, 17, 9, 4, 13, 20, 8], last=True))
    theirs = upstream(name, torch.bfloat16)
    ours = packed(name, theirs, torch.bfloat16)
    exact = upstream(name, torch.bfloat16).float()
    with torch.inference_mode():
        wanted = torch.stack([rows[-1] for rows in alone(exact, batch)])
        upstream_error = torch.stack([rows[-1] for rows in alone(theirs, batch)]) - wanted
        error = read_decoder(ours, batch, packed=True) - wanted
    assert error.abs().mean() < 1.25 * upstream_error.abs().mean()


def test_blocked_weights_change_nothing_but_speed() -> None:
    decoder = packed("qwen3", BODIES["qwen3"])
    batch = whole_batch(sequences([20, 13, 2], last=True))
    with torch.inference_mode():
        before = read_decoder(decoder, batch, packed=True)
        block_linears(decoder)
        after = read_decoder(decoder, batch, packed=True)
    blocked = [module for module in decoder.modules() if isinstance(module, BlockedLinear)]
    assert len(blocked) == 4 * SIZES["num_hidden_layers"] + 1
    assert_close(after, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_are_in_one_precision_and_angles_in_float32(dtype: torch.dtype) -> None:
    decoder = packed("qwen3", BODIES["qwen3"], dtype)
    assert {parameter.dtype for parameter in decoder.parameters()} == {dtype}
    assert decoder.inverse_frequencies.dtype == torch.float32
    cos, _ = decoder.rotary_tables(torch.tensor([40_001]), dtype)
    exact = np.cos(40_001 * 10_000.0 ** (-np.arange(0, 16, 2) / 16))
    rounding = 2e-2 if dtype == torch.bfloat16 else 5e-3  # the angle itself is rounded to 2^-9
    np.testing.assert_allclose(cos[0].float().numpy(), exact, atol=rounding)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llama", {"hidden_act": "gelu"}, "hidden_act 'gelu', expected 'silu'.*packing: padded"),
        ("llama", scaled("dynamic", factor=2.0), "rope_type 'dynamic'.*packing: padded"),
        (
            "llama",
            scaled("longrope", factor=2.0, short_factor=[1.0] * 4, long_factor=[2.0] * 4, **SHORT),
            "rope_type 'longrope'",
        ),
        ("llama", scaled("linear", factor=2.0, partial_rotary_factor=0.5), "4 of a head's 8"),
        ("llama", {"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple"),
        ("qwen2", {"num_key_value_heads": 0}, "num_key_value_heads is 0, expected a whole number"),
        ("qwen2", {"rms_norm_eps": 0.0}, "rms_norm_eps is 0.0, expected a number above 0"),
    ],
)
def test_what_runs_otherwise_is_refused_by_name(
    name: str, changes: dict[str, Any], message: str
) -> None:
    config = AutoConfig.for_model(name, **(SIZES | changes))
    with pytest.raises(ModelError, match=rf"^folder/config\.json: .*{message}"):
        DecoderShape.of(config, kind=name, where=WHERE)


def test_layers_of_another_kind_are_refused() -> None:
    config = AutoConfig.for_model("qwen3", **SIZES)
    config.layer_types = [FULL, FULL, "linear_attention"]
    with pytest.raises(ModelError, match=r"layer_types is .*'linear_attention'.*expected"):
        DecoderShape.of(config, kind="qwen3", where=WHERE)
