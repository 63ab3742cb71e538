"""Tokenizers to test with: one golden of each kind, and variants that published files also have."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers

from pipeline.tokenization.chunk_check import AWKWARD

GOLDENS = Path(__file__).parents[1] / "goldens"

GOLDEN_KINDS = (
    "bge-reranker-tiny",
    "jina-colbert-v2-tiny",
    "jina-reranker-m0",
    "jina-reranker-v1-tiny-tiny",
    "jina-reranker-v3",
    "jinabert-variants-tiny",
    "ms-marco-minilm-tiny",
    "mxbai-rerank-tiny",
    "qwen3-reranker-tiny",
)
VARIANTS = ("cased", "nfkc", "right_strip", "prefix_space", "modernbert", "llama3")
KINDS = (*GOLDEN_KINDS, *VARIANTS)


@cache
def library(kind: str) -> Tokenizer:
    """The tokenizer of this kind, whole and unpadded; shared, so not to be changed."""
    built = _variant(kind) if kind in VARIANTS else _golden(kind)
    built.no_truncation()
    built.no_padding()
    return built


def _golden(name: str) -> Tokenizer:
    return Tokenizer.from_file(str(GOLDENS / name / "tokenizer.json"))


def _variant(kind: str) -> Tokenizer:
    base = {
        "cased": "ms-marco-minilm-tiny",
        "nfkc": "bge-reranker-tiny",
        "right_strip": "bge-reranker-tiny",
        "llama3": "qwen3-reranker-tiny",
    }
    built = _golden(base.get(kind, "jina-reranker-v1-tiny-tiny"))
    if kind == "cased":
        built.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    elif kind == "nfkc":
        built.normalizer = normalizers.NFKC()
        built.pre_tokenizer = pre_tokenizers.Metaspace()
    elif kind == "right_strip":
        built.normalizer = normalizers.Sequence(
            [
                built.normalizer,
                normalizers.Strip(left=False, right=True),
                normalizers.Replace(Regex(" {2,}"), "\u2581"),
            ]
        )
        built.pre_tokenizer = pre_tokenizers.Metaspace()
    elif kind == "prefix_space":
        built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif kind == "modernbert":
        built.normalizer = normalizers.NFC()
        built.add_tokens([AddedToken(" " * n, normalized=False) for n in range(2, 9)])
        built.add_tokens([AddedToken("|||EMAIL|||", normalized=True)])
    elif kind == "llama3":
        built.normalizer = None
        pattern = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        built.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return built


#: Pieces of text that stand badly beside each other: whitespace of every kind, marks, joiners,
#: controls, what composes or decomposes, contractions, punctuation, texts of special tokens.
PIECES = st.one_of(
    st.sampled_from([" ", "  ", "   ", "\t", "\n", "\n\n", " \n", "\r\n", "\r"]),
    st.sampled_from(
        [*"\u00a0\u3000\u2028\u2029\u0085\u1680\u2000\u2001\u202f\u205f\x0b\x0c\x1c\x1f\x00\x7f"]
    ),
    st.sampled_from([*"\u0301\u0338\u0308\u200b\u200c\u200d\ufe0f\ufeff\u00ad\u0600\u06dd\u070f"]),
    st.sampled_from([*"\u0d4e\u0e33\u0eb3\uff9e\uff9f\U0001f3fd\U000111c2\U00011d46\u1100\u1161"]),
    st.sampled_from([*"\u00b4\u00a8\u2581\u037e\u1fef\u017f\u212a\u212b\u0130\u03a3\ufb01\uff41"]),
    st.sampled_from([*"\u0627\u05d0\u0915\u094d\u4e2d\u6587\uac00\u0e01\ufdfa\ufe70\ufffd\U0001f469"]),
    st.sampled_from(["a", "The", "x1", "12345", "I", "don't", "'LL", "...", ".", ",", "("]),
    st.sampled_from(["[SEP]", "[UNK]", "[unk]", "[", "]", "<s>", "</s>", "<mask>", "<\uff53>"]),
    st.sampled_from(["<|im_end|>", "<|im_start|>", "<think>", "<tool_call>", "|||EMAIL|||", "|"]),
    st.sampled_from([*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]),
    st.text(max_size=4),
    st.sampled_from(AWKWARD),
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=10).map("".join), st.text(max_size=60))
