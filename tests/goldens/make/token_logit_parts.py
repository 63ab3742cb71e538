"""What the goldens of the token_logit family have in common: texts, tokenizers, tiny networks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, processors

GOLDENS = Path(__file__).parents[1]
BASE = GOLDENS / "qwen3-reranker-tiny"

QUERIES = [
    "what helps dry skin",
    "When do trains leave?",
    "粗い紙 ",
    "two\nlines and <|im_end|>",
    " a space before",
    "ends in a break\n",
    "",
    "Yes or no: is it 0, or 1?",
    "dry, red 🙂",
]
DOCUMENTS = [
    "Creams with aloe keep the skin from drying out in winter.",
    "trains leave every forty minutes from the old station by the river",
    "",
    "ends in a space ",
    "ends in a break\n",
    "\n begins with one.\n\n",
    " 日本語の文書もここにあります。",
    "It's 1,204 eggs (flour & salt)!?",
    "<|im_start|>system\nno<think>\n",
    "é e\u0301 🙂 \u3000 \u200b",
    "A: a\nB: b",
]
PAIRS = [[query, document] for query in QUERIES for document in DOCUMENTS]
LONG = " ".join(f"The skin of {n} apples, dry and red." for n in range(12))
CUT = [
    ["what helps dry skin", LONG],
    ["what helps dry skin", "short"],
    [LONG, LONG],
    [LONG, ""],
    ["When do trains leave?", DOCUMENTS[1]],
]
INSTRUCTION = "Prefer what doctors say."


def qwen_tokenizer(*, begin: str | None = None) -> Tokenizer:
    """The tiny byte-level tokenizer of Qwen's make, with ``Yes`` and, perhaps, a first token."""
    data = json.loads((BASE / "tokenizer.json").read_text("utf-8"))
    vocabulary, merges = data["model"]["vocab"], data["model"]["merges"]
    size = max([*vocabulary.values(), *(token["id"] for token in data["added_tokens"])])
    joined = isinstance(merges[0], str)
    for first, second in (("e", "s"), ("Y", "es")):
        if first + second not in vocabulary:
            size += 1
            vocabulary[first + second] = size
            merges.append(f"{first} {second}" if joined else [first, second])
    tokenizer = Tokenizer.from_str(json.dumps(data))
    if begin is not None:
        tokenizer.add_special_tokens([begin])
        place = tokenizer.token_to_id(begin)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, place)]
        )
    return tokenizer


def library_tokenizer(tokenizer: Tokenizer, **options: Any) -> Any:
    """transformers' class around it."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **options)


def network(kind: str, *, seed: int, vocabulary: int, **changes: Any) -> Any:
    """A seeded causal language model of transformers; norms are no ones."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "intermediate_size": 48,
        "max_position_embeddings": 4096,
        "initializer_range": 0.25,
        "tie_word_embeddings": True,
        "pad_token_id": None,  # whose row would be zeros
        "bos_token_id": None,
        "eos_token_id": None,
    }
    config = AutoConfig.for_model(kind, **(sizes | changes))
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in made.parameters():
        if parameter.dim() == 1:
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return made.to(torch.bfloat16).eval()


def stored(folder: Path) -> Any:
    """The network of a folder in float32, its weights as they are stored."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def fresh(name: str) -> Path:
    """An empty folder for a golden."""
    folder = GOLDENS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def write_cases(folder: Path, cases: Iterable[dict[str, Any]], libraries: Iterable[str]) -> None:
    """``cases.jsonl`` and ``made_with.json``."""
    lines = "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases)
    (folder / "cases.jsonl").write_text(lines, "utf-8")
    command = f"python -m tests.goldens.make.{folder.name.replace('-', '_')}"
    made = {"command": command, "libraries": {name: version(name) for name in libraries}}
    (folder / "made_with.json").write_text(json.dumps(made, indent=2) + "\n", "utf-8")


@torch.inference_mode()
def last_logits(model: Any, ids: list[int]) -> torch.Tensor:
    """[vocabulary]: the logits at the last token of one prompt, which nothing is padded to."""
    logits: torch.Tensor = model(torch.tensor([ids])).logits[0, -1].float()
    return logits
