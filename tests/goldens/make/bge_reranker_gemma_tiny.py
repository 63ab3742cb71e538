"""A tiny bge-reranker-v2-gemma: FlagEmbedding's steps over transformers' Gemma.

The steps are those of FlagEmbedding/inference/reranker/decoder_only/base.py, which needs
``prepare_for_model`` of transformers 4; what it does with ``only_second`` is written out here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers

from tests.goldens.make.token_logit_parts import (
    CUT,
    DOCUMENTS,
    LONG,
    PAIRS,
    QUERIES,
    fresh,
    last_logits,
    library_tokenizer,
    network,
    stored,
    write_cases,
)

TASK = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the "
    "query by providing a prediction of either 'Yes' or 'No'."
)


def gemma_tokenizer() -> Tokenizer:
    """BPE over text with spaces as signs, and bytes for what it lacks, as Gemma's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
        limit_alphabet=80,
        show_progress=False,
    )
    words = [TASK, "Yes No ' Yes' Yes.", "A: what B: which", *QUERIES, *DOCUMENTS, LONG] * 4
    pieces = [word for text in words for word in text.replace(" ", " \0").split("\0")]
    tokenizer.train_from_iterator(pieces, trainer)
    for token in special:  # bytes are ordinary pieces of the vocabulary
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    return tokenizer


def prompt_ids(tokenizer: Any, query: str, document: str, max_length: int) -> list[int]:
    """``compute_score_single_gpu`` of the library, up to the padding."""

    def ids(text: str, **limits: Any) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False, **limits)["input_ids"]
        return found

    separator, task = ids("\n"), ids(TASK)
    asked = ids(f"A: {query}", max_length=max_length * 3 // 4, truncation=True)
    passage = ids(f"B: {document}", max_length=max_length, truncation=True)
    first, second = [tokenizer.bos_token_id, *asked], separator + passage
    over = len(first) + len(second) - (max_length + len(separator) + len(task))
    if over > 0:
        second = second[: len(second) - over]
    return first + second + separator + task


def cases(model: Any, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """Scores of all texts, and of some that are cut."""
    yes = tokenizer("Yes", add_special_tokens=False)["input_ids"][0]
    # The first is cut by the limit of the whole, the last by that of the document.
    for name, pairs, max_length in (
        ("whole", PAIRS, 1024),
        ("cut", CUT, 190),
        ("cut_document", CUT, 24),
    ):
        ids = [prompt_ids(tokenizer, *pair, max_length) for pair in pairs]
        yield {
            "case": name,
            "card": "bge-reranker-v2-gemma",
            "pairs": pairs,
            "instruction": None,
            "max_length": max_length,
            "expected": {
                "scores": [float(last_logits(model, one)[yes]) for one in ids],
                "input_ids": ids,
            },
        }


def main() -> None:
    """Write the folder anew."""
    folder = fresh("bge-reranker-gemma-tiny")
    library = gemma_tokenizer()
    tokenizer = library_tokenizer(
        library,
        model_max_length=4096,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
    )
    model = network(
        "gemma", seed=22, vocabulary=library.get_vocab_size(), num_key_value_heads=1, head_dim=16
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_cases(folder, cases(stored(folder), tokenizer), ["transformers", "tokenizers"])


if __name__ == "__main__":
    main()
