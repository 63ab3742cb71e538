"""What goldens of decoders are asked: several queries, odd texts, texts that are cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import torch

Pairs = list[tuple[str, str]]
Score = Callable[[Pairs, int], tuple[list[float], list[list[int]]]]

_WORDS: Final = [
    "cream",
    "aloe",
    "skin",
    "dry",
    "winter",
    "river",
    "train",
    "clock",
    "station",
    "egg",
    "flour",
    "salt",
    "tea",
    "東京",
    "чай",
]
_LONG: Final = " ".join(f"{word} {n}" for n in range(14) for word in _WORDS)
_QUERIES: Final = ("what helps dry skin", "How do trains keep time?", "粗い紙", "où est la gare")
_ODD: Final = (" a ", "x:", "\n", "?!", "ends \n ")
_CANDIDATES: Final = [
    " ".join(_WORDS[(n * step) % len(_WORDS)] for step in range(1, n % 7 + 2)) for n in range(40)
]
_DOCUMENTS: Final = (
    "creams with aloe keep the skin from drying out in winter",
    "Trains leave every forty minutes from the old station by the river.",
    "short",
    "日本語の文書もここにあります。",
    "naïve Straße\n\n\ttwo  spaces 🍵 e\u0301 don't 1234567",
    " begins with a space",
    "\nbegins with a break: and a colon",
    "(parenthesis) - 'quoted'",
    "",
    "   ",
)

#: Name, pairs, max_length.
CASES: Final[list[tuple[str, Pairs, int]]] = [
    ("one_pair", [(_QUERIES[0], _DOCUMENTS[0])], 512),
    ("several_queries", [(query, text) for query in _QUERIES for text in _DOCUMENTS], 512),
    ("equal_documents", [(_QUERIES[1], _DOCUMENTS[i % 3]) for i in range(7)], 512),
    ("odd_queries", [(query, _DOCUMENTS[0]) for query in _ODD], 512),
    ("forty_candidates", [(_QUERIES[0], text) for text in _CANDIDATES], 512),
    ("documents_cut", [(query, _LONG) for query in _QUERIES], 64),
    ("queries_cut", [(_LONG, text) for text in (_LONG, *_DOCUMENTS[:3])], 64),
]


def scored(score: Score) -> list[dict[str, Any]]:
    """Lines of cases.jsonl.

    Args:
        score: upstream's logits of pairs, and the token ids of each, given max_length.
    """
    lines = []
    for name, pairs, max_length in CASES:
        logits, ids = score(pairs, max_length)
        expected = {
            "logits": logits,
            "input_lengths": [len(row) for row in ids],
            "first_input_ids": ids[0],
        }
        line = {"case": name, "api": "predict", "pairs": pairs, "max_length": max_length}
        lines.append(line | {"expected": expected})
    return lines


def draw(tensors: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """bfloat16 tensors of the same names and shapes, from a seed; large enough to tell texts apart.

    Each has a seed of its own, so that no order counts.
    """
    drawn = {}
    for name, tensor in tensors.items():
        own = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:4], "big")
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(own))
        scale = {1: 0.2}.get(tensor.dim(), tensor.shape[-1] ** -0.5)
        scale = 1.0 if "embed_tokens" in name or name == "score.weight" else scale
        shift = 1.0 if "norm" in name else 0.0
        drawn[name] = (shift + scale * noise).to(torch.bfloat16).contiguous()
    return drawn
