"""What tokenizer_config.json says beside tokenizer.json, and where the two disagree.

transformers (5.23, as 4 before it) makes some tokenizers anew: of tokenizer.json it takes the
vocabulary, and of tokenizer_config.json, or of the class's defaults, how texts are normalised and
cut into words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.checkpoints.checkpoint import Checkpoint

_CONFIG: Final = "tokenizer_config.json"

_ACCENTS: Final = "strip_accents"

#: Tokens that a limit must leave a sequence, and from which on it is none.
_SHORTEST: Final = 4
_UNLIMITED: Final = 10**9

#: What tokenizer_config.json says about BERT's normaliser, what tokenizer.json calls it, and what
#: the classes take where the first says nothing.
_BERT_RULES: Final[tuple[tuple[str, str, bool | None], ...]] = (
    ("do_lower_case", "lowercase", True),
    (_ACCENTS, "strip_accents", None),
    ("tokenize_chinese_chars", "handle_chinese_chars", True),
)

#: transformers' classes of BERT's tokenizer, most of them by other names, which give token types.
_BERT: Final = frozenset(
    {
        "BertTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "LxmertTokenizer",
        "MobileBertTokenizer",
        "SqueezeBertTokenizer",
    }
)

#: Classes that normalise as BERT's do.
_BERT_NORMALISERS: Final = _BERT | {"ConvBertTokenizer", "DistilBertTokenizer", "MPNetTokenizer"}

#: Classes whose networks are given token types. AlbertTokenizer and PreTrainedTokenizerFast gave
#: them in transformers 4; in 5 they do not, and the second sequence of a pair has type 0.
WITH_TYPES: Final = _BERT | {"ConvBertTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer"}

#: Of networks with token types, the class where no file names one, by ``model_type``.
_CLASSES: Final = {
    "albert": "AlbertTokenizer",
    "bert": "BertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
}


def gives_token_types(checkpoint: Checkpoint) -> bool:
    """Whether transformers hands a pair's token types to the network.

    ``model_input_names`` of tokenizer_config.json says so, else the tokenizer's class. Without
    them every token has type 0.
    """
    names = checkpoint.table(_CONFIG).get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names
    return _class(checkpoint) in WITH_TYPES


def refuse_contradiction(checkpoint: Checkpoint, library: Tokenizer, *, splits: bool) -> None:
    """transformers follows tokenizer_config.json where its two files disagree.

    Args:
        checkpoint: whose files they are.
        library: its tokenizer.json.
        splits: whether special tokens in texts are text.

    Raises:
        ModelError: they do, and it is not known which of them the model was trained with; or it
            says of texts what is not done here.
    """
    config, kind = checkpoint.table(_CONFIG), _class(checkpoint)
    if config.get("split_special_tokens") and not splits:
        raise ModelError(
            f"{checkpoint.folder / _CONFIG}: split_special_tokens is true, so special tokens in "
            "texts are text; set model.settings.special_tokens to 'text'"
        )
    for theirs, stated, ours, done in _rules(config, kind, library):
        if stated != done:
            said = f"is {stated}" if theirs in config else f"is not there, which means {stated}"
            raise ModelError(
                f"{checkpoint.folder / _CONFIG}: {theirs} {said}, but {ours} of tokenizer.json is "
                f"{done}; make them what the model was trained with"
            )


def _rules(
    config: dict[str, Any], kind: str | None, library: Tokenizer
) -> list[tuple[str, object, str, object]]:
    """What the class reads of the configuration: its key and value, and tokenizer.json's."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import ByteLevel

    normalizer, splitter = library.normalizer, library.pre_tokenizer
    if kind in _BERT_NORMALISERS and isinstance(normalizer, BertNormalizer):
        found = [
            (theirs, config.get(theirs, default), ours, getattr(normalizer, ours))
            for theirs, ours, default in _BERT_RULES
        ]
        # Accents of which nothing is said go with the capitals.
        alike = {None, normalizer.lowercase}
        return [rule for rule in found if rule[0] != _ACCENTS or not {rule[1], rule[3]} <= alike]
    if kind == "RobertaTokenizer" and isinstance(splitter, ByteLevel):
        key = "add_prefix_space"
        return [(key, config.get(key, False), key, splitter.add_prefix_space)]
    return []


def _class(checkpoint: Checkpoint) -> str | None:
    """The class that transformers makes the tokenizer with, without ``Fast``."""
    network = checkpoint.table("config.json")
    stated = checkpoint.table(_CONFIG).get("tokenizer_class") or network.get("tokenizer_class")
    if stated is None:
        return _CLASSES.get(str(network.get("model_type")))
    return str(stated).removesuffix("Fast")


def lowercased(data: bytes) -> bytes:
    """A tokenizer that makes small letters of a text before its own normaliser sees it.

    Args:
        data: of ``tokenizer.json``, which has been read as a tokenizer before.
    """
    file = json.loads(data)
    own = [file["normalizer"]] if file.get("normalizer") else []
    file["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *own]}
    return json.dumps(file).encode()


def tokenizer_limit(checkpoint: Checkpoint, truncation: Mapping[str, Any] | None) -> int | None:
    """``model_max_length`` of tokenizer_config.json, or ``max_len`` as old files have it.

    Args:
        checkpoint: whose file it is.
        truncation: what tokenizer.json says of it.

    Raises:
        ModelError: texts are cut at their beginning, or the limit is no number of tokens.
    """
    config, name = checkpoint.table(_CONFIG), _CONFIG
    if "truncation_side" not in config and truncation is not None:
        config, name = config | {"truncation_side": truncation["direction"]}, "tokenizer.json"
    if config.get("truncation_side", "right") != "right":
        raise ModelError(
            f"{checkpoint.folder / name}: truncation_side '{config['truncation_side']}'; texts are "
            "cut at their end, so the scores would differ"
        )
    return stated_limit(checkpoint)


def stated_limit(checkpoint: Checkpoint) -> int | None:
    """As :func:`tokenizer_limit`, whichever end of texts is cut; None where nothing limits them.

    Raises:
        ModelError: the limit is no number of tokens.
    """
    config = checkpoint.table(_CONFIG)
    key = "model_max_length" if "model_max_length" in config else "max_len"
    limit = config.get(key)
    if limit is None or _unlimited(limit):
        return None
    if type(limit) is not int or limit < _SHORTEST:
        raise ModelError(
            f"{checkpoint.folder / _CONFIG}: {key} {limit!r}; expected a number of tokens from "
            f"{_SHORTEST}, or null where nothing limits them"
        )
    return limit


def _unlimited(limit: object) -> bool:
    """As transformers writes what it calls VERY_LARGE_INTEGER, some of it as a fraction."""
    return type(limit) in (int, float) and limit >= _UNLIMITED  # type: ignore[operator]
