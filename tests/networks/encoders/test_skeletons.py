"""Encoders' modules of our own: the names, shapes and results of transformers' networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from pipeline.networks.encoders.packed_encoder import PackedClassifier, PackedEncoder
from pipeline.networks.encoders.skeletons import skeleton
from pipeline.networks.linears.conversion import places
from tests.networks.test_packed import SIZES, sequences, whole_batch

EXACT = {"atol": 2e-6, "rtol": 0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {}),
    "bert of two labels": ("bert", {"num_labels": 2, "hidden_act": "gelu_new"}),
    "bert with relu": ("bert", {"hidden_act": "relu"}),
    "bert with a function of transformers'": ("bert", {"hidden_act": "mish"}),
    "roberta": ("roberta", {"type_vocab_size": 1}),
    "xlm-roberta": ("xlm-roberta", {"type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "camembert": ("camembert", {"hidden_act": "silu"}),
    "electra": ("electra", {"embedding_size": 32}),
    "narrow electra": ("electra", {"embedding_size": 12}),
    "modernbert": ("modernbert", {}),
    "modernbert with biases": (
        "modernbert",
        {"norm_bias": True, "attention_bias": True, "mlp_bias": True, "classifier_bias": True},
    ),
    "modernbert by the mean": (
        "modernbert",
        {
            "classifier_pooling": "mean",
            "hidden_activation": "silu",
            "classifier_activation": "relu",
            "local_attention": 8,
        },
    ),
}


def config_of(variant: str) -> tuple[str, Any]:
    kind, changes = VARIANTS[variant]
    return kind, AutoConfig.for_model(kind, **(SIZES | {"num_labels": 1} | changes))


def theirs(config: Any, *, classifies: bool) -> Any:
    torch.manual_seed(3)
    auto = AutoModelForSequenceClassification if classifies else AutoModel
    network = auto.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return network.eval().requires_grad_(False)


def filled(config: Any, kind: str, network: nn.Module, *, classifies: bool) -> Any:
    """Modules of ours with the weights of theirs, of which ours has every one but a pooler."""
    make = skeleton(config, kind=kind, classifies=classifies)
    assert make is not None
    ours = make().eval().requires_grad_(False)
    weights = network.state_dict()
    if not classifies:
        weights = {key: value for key, value in weights.items() if not key.startswith("pooler.")}
    ours.load_state_dict(weights, strict=True)
    assert list(ours.state_dict()) == list(dict.fromkeys(ours.state_dict()))
    return ours


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_classifier_has_the_names_and_logits_of_transformers(variant: str) -> None:
    kind, config = config_of(variant)
    network = theirs(config, classifies=True)
    ours = filled(config, kind, network, classifies=True)
    batch = whole_batch(sequences([20, 7, 13, 1]))
    with torch.inference_mode():
        wanted = PackedClassifier(network, kind)(batch)
        found = PackedClassifier(ours, kind)(batch)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_body_has_the_names_and_states_of_transformers(variant: str) -> None:
    kind, config = config_of(variant)
    network = theirs(config, classifies=False)
    ours = filled(config, kind, network, classifies=False)
    batch = whole_batch(sequences([20, 7, 13, 1]))
    with torch.inference_mode():
        wanted = PackedEncoder(network, kind, reads="all")(batch)
        found = PackedEncoder(ours, kind, reads="all")(batch)
    torch.testing.assert_close(found, wanted, **EXACT)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("modernbert", {"hidden_activation": "mish"}),
        ("modernbert", {"rope_parameters": {
            "full_attention": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        }}),
        ("deberta-v2", {}),
    ],
)  # fmt: skip
def test_what_is_not_known_is_transformers_to_make(kind: str, changes: dict[str, Any]) -> None:
    config = AutoConfig.for_model(kind, **(SIZES | changes))
    assert skeleton(config, kind=kind, classifies=False) is None


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_heads_that_do_not_share_the_width_are_refused(kind: str) -> None:
    config = AutoConfig.for_model(kind, **(SIZES | {"num_attention_heads": 5}))
    make = skeleton(config, kind=kind, classifies=True)
    assert make is not None
    with pytest.raises(ValueError, match="32 is no multiple of num_attention_heads 5"):
        make()


def test_an_exact_gelu_goes_with_its_product() -> None:
    for variant, gelus in {"bert": 4, "bert of two labels": 0, "bert with relu": 0}.items():
        kind, config = config_of(variant)
        make = skeleton(config, kind=kind, classifies=True)
        assert make is not None
        assert [place.gelu for place in places(make())].count(True) == gelus
