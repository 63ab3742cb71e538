"""qwen3-seq-cls-tiny: a seeded Qwen3ForSequenceClassification, scored by transformers.

The configuration names no padding token, as that of many conversions; the one that transformers
needs for a batch is set here, and which side it stands on changes nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

from tests.goldens.make.decoder_texts import Pairs, draw, scored

GOLDENS: Final = Path(__file__).parents[1]
FOLDER: Final = GOLDENS / "qwen3-seq-cls-tiny"
SIZES: Final[dict[str, Any]] = {
    "vocab_size": 1305,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}


def write_checkpoint() -> None:
    """Files as a conversion to one label has them."""
    FOLDER.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDENS / "qwen3-reranker-tiny" / name, FOLDER / name)
    config = {
        "architectures": ["Qwen3ForSequenceClassification"],
        "model_type": "qwen3",
        **SIZES,
        "rope_theta": 1000000,
        "sliding_window": None,
        "use_sliding_window": False,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "torch_dtype": "bfloat16",
        "transformers_version": transformers.__version__,
    }
    (FOLDER / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    network = Qwen3ForSequenceClassification(Qwen3Config(**SIZES, num_labels=1))
    tensors = draw(network.state_dict(), seed=42)
    save_file(tensors, FOLDER / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Write the folder anew."""
    write_checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    network = Qwen3ForSequenceClassification.from_pretrained(FOLDER, dtype=torch.float32).eval()
    network.config.pad_token_id = tokenizer.pad_token_id

    def score(pairs: Pairs, max_length: int) -> tuple[list[float], list[list[int]]]:
        sides = []
        cut = {"truncation": "longest_first", "max_length": max_length}
        for side in ("left", "right"):
            inputs = tokenizer(
                *zip(*pairs, strict=True),
                padding=True,
                padding_side=side,
                return_tensors="pt",
                **cut,
            )
            with torch.inference_mode():
                sides.append(network(**inputs).logits[:, 0])
        torch.testing.assert_close(*sides, atol=1e-5, rtol=0)
        return sides[0].tolist(), [tokenizer(*pair, **cut).input_ids for pair in pairs]

    lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in scored(score))
    (FOLDER / "cases.jsonl").write_text(lines, "utf-8")
    made = {
        "library": "transformers",
        "version": transformers.__version__,
        "command": "python -m tests.goldens.make.qwen3_seq_cls_tiny",
    }
    (FOLDER / "made_with.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
