from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.sentence_transformers.logit_score import (
    activation,
    chat_template,
    is_logit_score,
    read_logit_score,
    special_tokens,
)
from pipeline.errors import ModelError

GOLDEN = Path(__file__).parents[2] / "goldens" / "zerank-tiny"


def changed(folder: Path, name: str, change: Any) -> Checkpoint:
    """The golden with another JSON file; a table is laid over the one that is there."""
    shutil.copytree(GOLDEN, folder, ignore=shutil.ignore_patterns("*.safetensors", "cases.jsonl"))
    path = folder / name
    if isinstance(change, dict) and path.exists():
        change = json.loads(path.read_text("utf-8")) | change
    path.write_text(json.dumps(change), "utf-8")
    return Checkpoint(folder)


def test_what_the_library_saved() -> None:
    checkpoint = Checkpoint(GOLDEN)
    found = read_logit_score(checkpoint)
    assert is_logit_score(checkpoint)
    assert (found.no, found.instruction, found.max_length) == (None, None, None)
    assert found.message_format == "flat"
    assert found.variables == {"add_generation_prompt": True}
    assert activation(checkpoint) == "none"
    source, where = chat_template(checkpoint) or ("", "")
    assert source == (GOLDEN / "chat_template.jinja").read_text("utf-8")
    assert where.endswith("chat_template.jinja")
    assert special_tokens(checkpoint)["pad_token"] == "<|endoftext|>"
    assert not is_logit_score(Checkpoint(GOLDEN.parent / "qwen3-reranker-tiny"))


MESSAGES = {"message": {"method": "forward", "method_output_name": "logits", "format": "auto"}}


def test_keys_that_are_understood(tmp_path: Path) -> None:
    change = {
        "modality_config": MESSAGES,
        "unpad_inputs": False,
        "model_kwargs": {"torch_dtype": "bfloat16"},
        "processing_kwargs": {
            "text": {"truncation": "longest_first", "padding": True, "max_length": 700},
            "chat_template": {"enable_thinking": False, "restore_suffix": True},
            "common": {"padding_side": "left"},
        },
    }
    found = read_logit_score(changed(tmp_path / "a", "sentence_bert_config.json", change))
    assert (found.max_length, found.message_format) == (700, "auto")
    assert found.variables == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("1_LogitScore/config.json", {"module_input_name": "logits"}, "module_input_name 'logits'"),
        ("1_LogitScore/config.json", {"scale": 2}, "scale is not understood"),
        ("1_LogitScore/config.json", {"true_token_id": "Yes"}, "true_token_id"),
        ("sentence_bert_config.json", {"transformer_task": "any-to-any"}, "'any-to-any'"),
        (
            "sentence_bert_config.json",
            {"modality_config": {"text": {"method": "forward"}}},
            "text; expected text-generation on messages",
        ),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"text": {"padding_side": "right"}}},
            "processing_kwargs.text.padding_side 'right'",
        ),
        (
            "sentence_bert_config.json",
            {"processing_kwargs": {"chat_template": {"continue_final_message": True}}},
            "continue_final_message",
        ),
        ("sentence_bert_config.json", {"max_seq_length": "all"}, "max_seq_length"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "web"},
            "'web' is none of 'prompts'",
        ),
        (
            "config_sentence_transformers.json",
            {"activation_fn": "torch.nn.Tanh"},
            "'torch.nn.Tanh'",
        ),
        ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}, "SparseEncoder"),
    ],
)
def test_what_would_change_scores_is_refused(
    name: str, change: dict[str, Any], told: str, tmp_path: Path
) -> None:
    checkpoint = changed(tmp_path / "a", name, change)
    with pytest.raises(ModelError, match=told) as error:
        read_logit_score(checkpoint)
        activation(checkpoint)
    assert name in str(error.value)


def test_further_modules(tmp_path: Path) -> None:
    kinds = ("base.modules.Transformer", "base.modules.Dense", "cross_encoder.modules.LogitScore")
    listed = [
        {
            "idx": place,
            "name": str(place),
            "path": f"{place}_{kind.rpartition('.')[2]}" if place else "",
            "type": f"sentence_transformers.{kind}",
        }
        for place, kind in enumerate(kinds)
    ]
    with pytest.raises(ModelError, match="modules Transformer, Dense, LogitScore"):
        read_logit_score(changed(tmp_path / "a", "modules.json", listed))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("{{ x }}", "{{ x }}"),
        ([{"name": "tool", "template": "a"}, {"name": "default", "template": "b"}], "b"),
        (None, None),
    ],
)
def test_older_places_of_a_chat_template(given: Any, found: str | None, tmp_path: Path) -> None:
    checkpoint = changed(tmp_path / "a", "tokenizer_config.json", {"chat_template": given})
    (checkpoint.folder / "chat_template.jinja").unlink()
    template = chat_template(checkpoint)
    assert (template and template[0]) == found


def test_older_places_of_an_activation(tmp_path: Path) -> None:
    files = "config_sentence_transformers.json"
    checkpoint = changed(tmp_path / "a", files, {"activation_fn": None})
    assert activation(checkpoint) == "sigmoid"
    for number, stated in enumerate(
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
            {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        )
    ):
        older = changed(tmp_path / f"b{number}", files, {"activation_fn": None})
        config = older.config | stated
        (older.folder / "config.json").write_text(json.dumps(config), "utf-8")
        assert activation(Checkpoint(older.folder)) == "none"
