"""A tiny mxbai-rerank v2: the vendor's steps (mxbai_rerank/mxbai_rerank_v2.py) over transformers.

The vendor's class needs ``prepare_for_model`` of transformers 4; what it does with
``only_second`` is written out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.goldens.make.token_logit_parts import (
    CUT,
    INSTRUCTION,
    PAIRS,
    fresh,
    last_logits,
    library_tokenizer,
    network,
    qwen_tokenizer,
    stored,
    write_cases,
)

PREFIX = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
TASK = (
    "You are a search relevance expert who evaluates how well documents match search queries. For "
    "each query-document pair, carefully analyze the semantic relationship between them, then "
    "provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
)


def prompt_ids(
    tokenizer: Any, query: str, document: str, instruction: str | None, max_length: int
) -> list[int]:
    """``prepare_inputs`` of the vendor."""

    def ids(text: str, **limits: Any) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False, **limits)["input_ids"]
        return found

    prefix, task, suffix, separator = ids(PREFIX), ids(TASK), ids(SUFFIX), ids("\n")
    fixed = len(prefix) + len(task) + len(suffix) + len(separator)
    longest = tokenizer.model_max_length
    if max_length + fixed > longest:
        max_length = longest - fixed
    asked = f"query: {query}"
    if instruction:
        asked = f"instruction: {instruction}\n{asked}"
    first = ids(asked, max_length=max_length * 3 // 4, truncation=True)
    limit = min(longest - len(first) - fixed, max_length)
    second = separator + ids(f"document: {document}", max_length=limit, truncation=True)
    over = len(first) + len(second) - max_length
    if over > 0:
        second = second[: len(second) - over]
    return prefix + first + second + separator + task + suffix


def cases(model: Any, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Scores of all texts, without and with an instruction, and of some that are cut."""
    yes, no = (tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("1", "0"))
    for name, pairs, instruction, max_length in (
        ("whole", PAIRS, None, 2048),
        ("instructed", PAIRS[::5], INSTRUCTION, 2048),
        ("cut", CUT, None, 120),
        ("cut_instructed", CUT, INSTRUCTION, 123),
        ("cut_much", CUT, None, 41),
    ):
        ids = [prompt_ids(tokenizer, *pair, instruction, max_length) for pair in pairs]
        logits = [last_logits(model, one) for one in ids]
        yield {
            "case": name,
            "card": "mxbai-rerank-base-v2",
            "pairs": pairs,
            "instruction": instruction,
            "max_length": max_length,
            "expected": {
                "scores": [float(one[yes] - one[no]) for one in logits],
                "input_ids": ids,
            },
        }


def main() -> None:
    """Write the folder anew."""
    folder = fresh("mxbai-rerank-v2-tiny")
    library = qwen_tokenizer()
    tokenizer = library_tokenizer(library, model_max_length=4096)
    model = network("qwen2", seed=21, vocabulary=library.get_vocab_size(), use_sliding_window=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_cases(folder, cases(stored(folder), tokenizer), ["transformers"])


if __name__ == "__main__":
    main()
