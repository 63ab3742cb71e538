"""PyLate puts our ID triple together and makes the batches of its distillation loss of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from pylate import utils
from transformers import AutoTokenizer


def test_distillation(exported: Any, checkpoint: str, tmp_path: Path) -> None:
    folder, cache = exported("id_triple"), str(tmp_path / "cache")
    parts = {
        name: load_dataset(folder, name, split="train", cache_dir=cache)
        for name in ("train", "queries", "documents")
    }
    processing = utils.KDProcessing(queries=parts["queries"], documents=parts["documents"])
    parts["train"].set_transform(processing.transform)
    for row in parts["train"]:
        assert row["query"].startswith("query q")
        assert row["documents"][0] == "text of p"
        assert len(row["documents"]) == len(row["scores"]) == 3
        assert row["scores"] == sorted(row["scores"], reverse=True)

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def tokenize(texts: list[str], *, is_query: bool, pad: bool, task: str | None) -> Any:
        return tokenizer(texts, padding=pad, return_tensors="pt")

    batch = utils.ColBERTCollator(tokenize_fn=tokenize)([parts["train"][i] for i in range(4)])
    assert batch["label"].shape == (4, 3)
    assert batch["label"].dtype == torch.float32
    assert batch["query_input_ids"].shape[0] == 4
    assert batch["documents_input_ids"].shape[0] == 4 * 3
