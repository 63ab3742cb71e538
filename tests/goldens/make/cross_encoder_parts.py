"""What the goldens of cross-encoders share: sentence-transformers saves them and scores pairs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import sentence_transformers
import torch
from sentence_transformers import CrossEncoder

GOLDENS: Final = Path(__file__).resolve().parents[1]

#: Whose tokenizer and pairs the new ones have.
BERT: Final = GOLDENS / "ms-marco-minilm-tiny"

#: Cases of that golden that are asked of the new ones, too.
_CASES: Final = (
    "docs_example",
    "multilingual",
    "code_and_odd_text",
    "truncation_longest_first",
    "candidates_200",
)

#: Pairs of a case, of which that golden has more.
_MOST: Final = 60

#: Pairs that are cut on either side, and a document that is empty, by their limit.
_LONG: Final = "the old station by the river keeps its clock in time " * 12
_MORE: Final = {
    None: [("", ""), ("a query", ""), ("", "a document"), ("a query", "  spaces \n around ")],
    32: [("a short query", _LONG), (_LONG, "a short document"), (_LONG, _LONG)],
}


def body_config(kind: str, **sizes: Any) -> Any:
    """transformers' configuration of a small network for BERT's golden tokenizer."""
    from transformers import AutoConfig

    tokens = {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3}
    return AutoConfig.for_model(
        kind,
        vocab_size=1400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2 if kind == "bert" else 3,
        num_attention_heads=4,
        **tokens,
        **sizes,
    )


def with_tokenizer(network: Any, folder: Path) -> Path:
    """A network in transformers' layout, with BERT's golden tokenizer."""
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BERT / name, folder / name)
    return folder


def write(name: str, model: CrossEncoder) -> None:
    """Save a model as a golden, load it again, and write what the library scores."""
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(str(folder), create_model_card=False)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    lines = [json.dumps(case, ensure_ascii=False) for case in _scored(folder)]
    (folder / "cases.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    made = {
        "library": "sentence-transformers",
        "version": sentence_transformers.__version__,
        "command": f"python -m tests.goldens.make.{name.replace('-', '_')}",
    }
    (folder / "made_with.json").write_text(json.dumps(made, indent=2) + "\n", "utf-8")


def _scored(folder: Path) -> list[dict[str, Any]]:
    scored = []
    for case, pairs, max_length in _asked():
        model = CrossEncoder(str(folder), device="cpu", max_length=max_length)
        logits = model.predict(pairs, activation_fn=torch.nn.Identity())
        expected: dict[str, Any] = {}
        if logits.ndim > 1:
            expected["probabilities"] = model.predict(pairs, apply_softmax=True)[:, 1].tolist()
            logits = logits[:, 1] - logits[:, 0]
        ids = model.tokenizer(
            [query for query, _ in pairs],
            [document for _, document in pairs],
            truncation="longest_first",
            max_length=model.max_seq_length,
        )["input_ids"]
        expected |= {
            "logits": logits.tolist(),
            "default": model.predict(pairs).tolist(),
            "input_lengths": [len(row) for row in ids],
            "first_input_ids": ids[0],
        }
        line = {"case": case, "api": "predict", "pairs": pairs, "max_length": max_length}
        scored.append(line | {"expected": expected})
    return scored


def _asked() -> list[tuple[str, list[tuple[str, str]], int | None]]:
    found = []
    for text in (BERT / "cases.jsonl").read_text("utf-8").splitlines():
        case = json.loads(text)
        if case["case"] in _CASES:
            pairs = [(query, document) for query, document in case["pairs"][:_MOST]]
            found.append((case["case"], pairs, case["max_length"]))
    found += [(f"cut_to_{limit}", pairs, limit) for limit, pairs in _MORE.items()]
    return found
