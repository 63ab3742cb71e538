"""A CrossEncoder with a LogitScore, made, saved and asked by sentence-transformers itself."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tests.goldens.make.token_logit_parts import (
    INSTRUCTION,
    PAIRS,
    fresh,
    library_tokenizer,
    network,
    qwen_tokenizer,
    write_cases,
)


def write(
    name: str, *, template: str, tokens: tuple[str | int, str | int | None], **how: Any
) -> None:
    """Write a golden's folder anew.

    Args:
        name: of the folder.
        template: chat template with the roles system, query and document.
        tokens: whose logit counts, and whose is taken off it; texts or ids.
        how: ``seed``, arguments of the ``chat_template``, and of the CrossEncoder.
    """
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    folder, library = fresh(name), qwen_tokenizer()
    seed, variables = how.pop("seed"), how.pop("variables", {})
    yes, no = (library.token_to_id(one) if isinstance(one, str) else one for one in tokens)
    with TemporaryDirectory() as place:
        network("qwen3", seed=seed, vocabulary=library.get_vocab_size()).save_pretrained(place)
        tokenizer = library_tokenizer(
            library, pad_token="<|endoftext|>", chat_template=template, model_max_length=2048
        )
        tokenizer.save_pretrained(place)
        body = Transformer(
            place,
            transformer_task="text-generation",
            model_kwargs={"dtype": torch.bfloat16},
            processing_kwargs={"chat_template": variables} if variables else None,
        )
        CrossEncoder(modules=[body, LogitScore(yes, no)], device="cpu", **how).save_pretrained(
            str(folder)
        )
    for extra in ("README.md", "generation_config.json"):
        (folder / extra).unlink(missing_ok=True)
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    write_cases(folder, _cases(model), ["sentence-transformers", "transformers"])


def _cases(model: Any) -> Iterator[dict[str, Any]]:
    for name, pairs, instruction in (
        ("whole", PAIRS, None),
        ("instructed", PAIRS[::3], INSTRUCTION),
    ):
        scores = model.predict([tuple(pair) for pair in pairs], prompt=instruction)
        asked = instruction or model.prompts.get(model.default_prompt_name)
        ids = [
            model.preprocess([tuple(pair)], prompt=asked)["input_ids"][0].tolist() for pair in pairs
        ]
        yield {
            "case": name,
            "card": None,
            "pairs": pairs,
            "instruction": instruction,
            "max_length": None,
            "expected": {"scores": [float(score) for score in scores], "input_ids": ids},
        }
