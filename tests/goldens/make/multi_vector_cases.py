"""What goldens of late interaction are asked, and sentence-transformers' answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from sentence_transformers import MultiVectorEncoder, __version__

GOLDENS: Final = Path(__file__).parents[1]

#: Tokens of a query and of a document, as the checkpoints say.
QUERY_LENGTH: Final = 16
DOCUMENT_LENGTH: Final = 40

_WORDS: Final = ("cream", "aloe", "skin", "dry", "winter", "river", "train", "clock", "tea", "salt")
_LONG: Final = " ".join(f"{word}, {number}." for number in range(6) for word in _WORDS)
_DOCUMENTS: Final = (
    "creams with aloe keep the skin from drying out in winter",
    "Trains leave every forty minutes, from the old station by the river!",
    "",
    "   ",
    "... !? (,) -",
    "日本語の文書もここにあります。",
    "naïve Straße\n\n\ttwo  spaces 🍵 e\u0301 don't 1234567",
    " begins with a space",
    "a [MASK] and a <mask> are words",
)
_CANDIDATES: Final = [
    " ".join(_WORDS[(number * step) % len(_WORDS)] for step in range(1, number % 7 + 2)) + "."
    for number in range(70)
]

#: Name, query, documents, tokens of a query, tokens of a document.
_CASES: Final = (
    ("one_document", "what helps dry skin", _DOCUMENTS[:1], QUERY_LENGTH, DOCUMENT_LENGTH),
    ("documents", "How do trains keep time?", _DOCUMENTS, QUERY_LENGTH, DOCUMENT_LENGTH),
    ("unicode", "où est la gare 粗い紙 🍵", _DOCUMENTS, QUERY_LENGTH, DOCUMENT_LENGTH),
    ("empty_query", "", _DOCUMENTS[:4], QUERY_LENGTH, DOCUMENT_LENGTH),
    ("long_query", _LONG, _DOCUMENTS[:3], QUERY_LENGTH, DOCUMENT_LENGTH),
    ("documents_cut", "dry skin", (_LONG, *_DOCUMENTS[:3]), QUERY_LENGTH, DOCUMENT_LENGTH),
    ("candidates_70", "winter tea", _CANDIDATES, QUERY_LENGTH, DOCUMENT_LENGTH),
    ("other_lengths", "what helps dry skin in winter", (_LONG, *_DOCUMENTS), 8, 12),
)


def draw(module: torch.nn.Module) -> None:
    """Weights from the seed that torch was given, large enough to tell texts apart."""
    for name, parameter in module.named_parameters():
        noise = torch.randn_like(parameter)
        is_norm = "norm" in name.lower() and parameter.dim() == 1
        scale = 0.2 if parameter.dim() == 1 else max(parameter.shape[-1], 4) ** -0.5
        parameter.data = noise * scale + (1.0 if is_norm and name.endswith("weight") else 0.0)


def write(folder: Path, name: str) -> None:
    """cases.jsonl and made_with.json of a checkpoint that is there."""
    lines = []
    for case, query, documents, queries, told in _CASES:
        model = MultiVectorEncoder(str(folder), device="cpu")
        body: Any = model[0]
        body.query_expansion = {**body.query_expansion, "length": queries}
        body.document_length = told
        asked, read = model.encode_query([query]), model.encode_document(list(documents))
        ids = model.preprocess([query], prompt=model.prompts["query"], task="query")["input_ids"]
        line = {"case": case, "api": "late_interaction", "query": query, "documents": documents}
        line |= {"query_maxlen": queries, "doc_maxlen": told}
        line["expected"] = {
            "scores": model.similarity(asked, read)[0].tolist(),
            "query_input_ids": ids[0].tolist(),
            "doc_vectors": [len(vectors) for vectors in read],
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = {"library": "sentence-transformers", "version": __version__}
    made["command"] = f"python -m tests.goldens.make.{name}"
    (folder / "made_with.json").write_text(json.dumps(made, indent=2) + "\n", "utf-8")
