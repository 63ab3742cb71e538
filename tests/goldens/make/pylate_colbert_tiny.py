"""A tiny BERT in PyLate's layout: markers, two Dense layers, the second with a residual."""

from __future__ import annotations

import json
import shutil
from typing import Any

import torch
from sentence_transformers.base.modules import Dense
from transformers import AutoTokenizer, BertConfig, BertModel

from tests.goldens.make.multi_vector_cases import (
    DOCUMENT_LENGTH,
    GOLDENS,
    QUERY_LENGTH,
    draw,
    write,
)

FOLDER = GOLDENS / "pylate-colbert-tiny"


def main() -> None:
    """Write the folder anew."""
    torch.manual_seed(11)
    shutil.rmtree(FOLDER, ignore_errors=True)
    source = GOLDENS / "ms-marco-minilm-tiny"
    # As PyLate adds them: looked for in normalised text, where small letters hide them.
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(["[Q] ", "[D] "])
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    body = BertModel(config, add_pooling_layer=False)
    draw(body)
    body.save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)
    layers = [Dense(32, 24, bias=False, activation_function=torch.nn.Identity())]
    layers += [Dense(24, 16, activation_function=torch.nn.GELU(), use_residual=True)]
    for number, layer in enumerate(layers, 1):
        draw(layer)
        layer.module_input_name = layer.module_output_name = "token_embeddings"
        (FOLDER / f"{number}_Dense").mkdir()
        layer.save(str(FOLDER / f"{number}_Dense"))
        _edit(f"{number}_Dense/config.json", module_input_name=None, module_output_name=None)
    _write_pylate()
    write(FOLDER, "pylate_colbert_tiny")


def _write_pylate() -> None:
    """The files that PyLate 1 to 3 writes around the network."""
    parts = [("", "sentence_transformers.models.Transformer")]
    parts += [(f"{number}_Dense", "pylate.models.Dense.Dense") for number in (1, 2)]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": kind}
        for number, (path, kind) in enumerate(parts)
    ]
    (FOLDER / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", "utf-8")
    _edit("sentence_bert_config.json", max_seq_length=DOCUMENT_LENGTH - 1, do_lower_case=False)
    _edit(
        "config_sentence_transformers.json",
        model_type="ColBERT",
        prompts={},
        similarity_fn_name="MaxSim",
        query_prefix="[Q] ",
        document_prefix="[D] ",
        query_length=QUERY_LENGTH,
        document_length=DOCUMENT_LENGTH,
        attend_to_expansion_tokens=False,
        do_query_expansion=True,
        skiplist_words=[*".,!?-", "``"],
    )


def _edit(name: str, **keys: Any) -> None:
    """Set keys of a file; None takes one away."""
    path = FOLDER / name
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    after = {key: value for key, value in (before | keys).items() if value is not None}
    path.write_text(json.dumps(after, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
