"""Values of a checkpoint's files that are not what they must be: a sentence, never a traceback.

Keys of every JSON file of every family's checkpoint, drawn by chance, are set to what they cannot
be. The family is built, or refused by an error of ours that names the place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints.values import number, whole_number, yes_or_no
from pipeline.config import ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.errors import ModelError, RerankError
from tests.networks.test_network_config import CHECKPOINTS

ODD: tuple[Any, ...] = (None, "x", -1, 0, 1e30, [], {}, True, ["x"], {"a": None}, "\ud800")
CHANGES = 15
WHERE = Path("folder/config.json")

#: Files beside those of the checkpoints, with keys that the families read.
MORE: dict[str, dict[str, Any]] = {
    "bi_encoder": {
        "config_sentence_transformers.json": {
            "prompts": {"query": "q", "document": "d"},
            "default_prompt_name": "query",
            "similarity_fn_name": "cosine",
        },
        "sentence_bert_config.json": {"max_seq_length": 64, "model_args": {"dtype": "float32"}},
        "1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": True},
    },
    "cross_encoder": {
        "config_sentence_transformers.json": {
            "prompts": {"query": ""},
            "default_prompt_name": "query",
            "activation_fn": "torch.nn.modules.linear.Identity",
        },
        "sentence_bert_config.json": {"max_seq_length": 64},
    },
    "pairwise": {"generation_config.json": {"eos_token_id": [1]}},
    "mono_qwen2_vl": {"processor_config.json": {"image_processor": {"size": {"max_pixels": 9999}}}},
}


def changes(data: Any, depth: int = 2) -> Iterator[Any]:
    """Copies of a table in which one key, at some depth, has an odd value or is gone."""
    if not isinstance(data, dict) or depth == 0:
        return
    for key, value in data.items():
        yield {name: inner for name, inner in data.items() if name != key}
        for odd in ODD:
            yield data | {key: odd}
        for inner in changes(value, depth - 1):
            yield data | {key: inner}


@pytest.mark.parametrize("family", sorted(CHECKPOINTS))
def test_odd_values_are_refused_in_a_sentence(family: str, tmp_path: Path) -> None:
    folder = CHECKPOINTS[family](tmp_path / "model")
    for name, content in MORE.get(family, {}).items():
        (folder / name).write_text(json.dumps(content))
    config = ModelConfig(family=family, weights=str(folder))
    build_reranker(config)
    refused = 0
    described = [*folder.rglob("*.json"), *folder.glob("*.metadata")]
    for path in described:
        if path.name in ("tokenizer.json", "images_expected.json"):
            continue
        before = path.read_bytes()
        made = list(changes(json.loads(before)))
        for data in [[], *random.Random(family).sample(made, min(len(made), CHANGES))]:
            path.write_text(json.dumps(data))
            try:
                build_reranker(config)
            except RerankError as error:
                refused += 1
                assert str(folder) in str(error) or "model.settings" in str(error)
        path.write_bytes(before)
    assert refused


@pytest.mark.parametrize("value", ["3", 3.0, True, None, 0, -1, [3]])
def test_a_whole_number_is_nothing_else(value: object) -> None:
    with pytest.raises(ModelError, match=r"folder/config\.json: r is .*whole number from 1"):
        whole_number({"r": value}, "r", where=WHERE)
    assert whole_number({}, "r", where=WHERE, default=7) == 7


@pytest.mark.parametrize("value", ["3", True, None, 0, -1.5, float("nan"), float("inf")])
def test_a_number_is_nothing_else(value: object) -> None:
    with pytest.raises(ModelError, match=r"folder/config\.json: alpha is .*number above 0"):
        number({"alpha": value}, "alpha", where=WHERE)
    assert number({"alpha": 3}, "alpha", where=WHERE) == 3.0


@pytest.mark.parametrize("value", ["true", 1, 0, [], "x"])
def test_a_switch_is_nothing_else(value: object) -> None:
    with pytest.raises(ModelError, match=r"folder/config\.json: on is .*true or false"):
        yes_or_no({"on": value}, "on", where=WHERE, default=False)
    assert yes_or_no({"on": None}, "on", where=WHERE, default=True)
