"""A tiny ctxl-rerank-v2 6b: a Mistral that begins with ``<s>``, asked by transformers alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.goldens.make.token_logit_parts import (
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


def prompt(query: str, document: str, instruction: str | None) -> str:
    """The vendor's words, the document first."""
    asked = f"{query} {instruction}" if instruction else query
    return (
        "Check whether a given document contains information helpful to answer the query.\n"
        f"<Document> {document}\n<Query> {asked} ??"
    )


def cases(model: Any, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """The logit of the vocabulary's first token."""
    for name, pairs, instruction in (
        ("whole", PAIRS, None),
        ("instructed", PAIRS[::3], INSTRUCTION),
    ):
        texts = [prompt(query, document, instruction) for query, document in pairs]
        ids = [tokenizer(text)["input_ids"] for text in texts]
        yield {
            "case": name,
            "card": "ctxl-rerank-v2-6b",
            "pairs": pairs,
            "instruction": instruction,
            "max_length": 2048,
            "expected": {
                "scores": [float(last_logits(model, one)[0]) for one in ids],
                "input_ids": ids,
            },
        }


def main() -> None:
    """Write the folder anew."""
    folder = fresh("ctxl-rerank-6b-tiny")
    library = qwen_tokenizer(begin="<s>")
    tokenizer = library_tokenizer(library, bos_token="<s>")
    model = network(
        "mistral",
        seed=23,
        vocabulary=library.get_vocab_size(),
        sliding_window=None,
        tie_word_embeddings=False,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_cases(folder, cases(stored(folder), tokenizer), ["transformers"])


if __name__ == "__main__":
    main()
