"""What sentence-transformers writes beside a network, read as data.

Written for the files of versions 2 to 6. A value that would change scores is taken or refused by
name, never skipped; classes are known by their names and never imported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

MODEL: Final = "config_sentence_transformers.json"
TRANSFORMER: Final = "sentence_bert_config.json"

#: Older names of the same file, by architecture (base/modules/transformer.py).
_OLD_TRANSFORMER: Final = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

#: Keys of sentence_bert_config.json that leave scores alone, whatever they say.
_HARMLESS: Final = frozenset({"module_output_name", "unpad_inputs"})

#: What the library takes of a network, by the task that it is loaded for.
_OUTPUTS: Final = {
    "feature-extraction": "last_hidden_state",
    "sequence-classification": "logits",
}

#: Arguments of from_pretrained that say how to load, not what.
_HOW_TO_LOAD: Final = frozenset(
    {
        "add_pooling_layer",
        "attn_implementation",
        "dtype",
        "torch_dtype",
        "trust_remote_code",
        "use_safetensors",
    }
)

#: Tokens that a text has with its special ones and some of its own.
_SHORTEST: Final = 4


def transformer_file(checkpoint: Checkpoint) -> tuple[dict[str, Any], Path]:
    """What ``sentence_bert_config.json``, under one of its names, says, and its path.

    Raises:
        ModelError: it holds no keys.
    """
    name = next((n for n in (TRANSFORMER, *_OLD_TRANSFORMER) if checkpoint.json(n)), TRANSFORMER)
    return checkpoint.table(name), checkpoint.folder / name


def max_seq_length(
    checkpoint: Checkpoint, *, task: str, lowercases: bool, read: Collection[str] = ()
) -> int | None:
    """Tokens of a text as ``sentence_bert_config.json`` limits them; None where it does not.

    Args:
        checkpoint: with or without the file.
        task: that the library loads such a network for.
        lowercases: whether the tokenizer does.
        read: further keys, which the caller reads.

    Raises:
        ModelError: a key that would change scores and is not understood.
    """
    config, where = transformer_file(checkpoint)
    limit = config.get("max_seq_length")
    reads = {"text": {"method": "forward", "method_output_name": _OUTPUTS[task]}}
    for key, value in config.items():
        if key in _HARMLESS or key in read or not value or key == "max_seq_length":
            continue
        if key == "do_lower_case" and lowercases:
            continue
        if (key, value) in (("transformer_task", task), ("modality_config", reads)):
            continue
        if key.endswith(("_args", "_kwargs")) and isinstance(value, Mapping):
            unknown = sorted(set(value) - _HOW_TO_LOAD)
            if unknown == ["model_max_length"]:
                limit = limit or value["model_max_length"]
                continue
            if not unknown:
                continue
            key, value = f"{key}.{unknown[0]}", value[unknown[0]]
        raise ModelError(f"{where}: {key} {value!r} is not understood and would change scores")
    if limit is not None and (type(limit) is not int or limit < _SHORTEST):
        raise ModelError(
            f"{where}: max_seq_length {limit!r}; expected a number of tokens from {_SHORTEST}"
        )
    return limit


def model_file(checkpoint: Checkpoint, kind: str) -> dict[str, Any]:
    """``config_sentence_transformers.json`` of a model of that kind; empty where there is none."""
    model = checkpoint.table(MODEL)
    stated = model.get("model_type", kind)
    if stated != kind:
        raise ModelError(f"{checkpoint.folder / MODEL}: model_type '{stated}', expected '{kind}'")
    return model
