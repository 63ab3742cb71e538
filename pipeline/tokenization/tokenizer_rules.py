"""What tokenizer_config.json says beside tokenizer.json: its limit, and where the two disagree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.checkpoints.checkpoint import Checkpoint

#: What tokenizer_config.json says about BERT's normaliser, and what tokenizer.json calls it.
_BERT_RULES: Final = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def refuse_contradiction(checkpoint: Checkpoint, library: Tokenizer) -> None:
    """transformers follows tokenizer_config.json where the two files of BERT disagree.

    Raises:
        ModelError: they do; it is not known which of them the model was trained with.
    """
    from tokenizers.normalizers import BertNormalizer

    normalizer = library.normalizer
    if not isinstance(normalizer, BertNormalizer):
        return
    config = checkpoint.table("tokenizer_config.json")
    for theirs, ours in _BERT_RULES.items():
        stated, done = config.get(theirs), getattr(normalizer, ours)
        if stated is not None and stated != done:
            raise ModelError(
                f"{checkpoint.folder}/tokenizer_config.json: {theirs} is {stated}, but {ours} of "
                f"tokenizer.json is {done}; make them what the model was trained with"
            )


def lowercased(data: bytes) -> bytes:
    """A tokenizer that makes small letters of a text before its own normaliser sees it.

    Args:
        data: of ``tokenizer.json``, which has been read as a tokenizer before.
    """
    file = json.loads(data)
    own = [file["normalizer"]] if file.get("normalizer") else []
    file["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *own]}
    return json.dumps(file).encode()


def tokenizer_limit(checkpoint: Checkpoint) -> object:
    """``model_max_length`` of tokenizer_config.json.

    Raises:
        ModelError: the tokenizer cuts texts at their beginning.
    """
    config = checkpoint.table("tokenizer_config.json")
    if config.get("truncation_side", "right") != "right":
        raise ModelError(
            f"{checkpoint.folder}/tokenizer_config.json: truncation_side "
            f"'{config['truncation_side']}'; texts are cut at their end, so the scores would differ"
        )
    return config.get("model_max_length")
