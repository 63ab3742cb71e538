"""Tevatron, in the version that the package index has, loads our lines and tokenises them.

The datasets of its repository read the same fields and are not on the index; their rules (a title
in every passage, no empty list, the positive first) are checked in ``tests/distillation/formats``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tevatron.arguments import DataArguments
from tevatron.datasets.dataset import HFTrainDataset
from tevatron.datasets.preprocessor import TrainPreProcessor
from transformers import AutoTokenizer


def test_retriever(exported: Any, checkpoint: str, tmp_path: Path) -> None:
    arguments = DataArguments(train_dir=exported("tevatron") + "/train", dataset_proc_num=1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    loaded = HFTrainDataset(tokenizer, arguments, cache_dir=str(tmp_path / "cache"))
    assert len(loaded.dataset) == 8
    processed = loaded.dataset.map(TrainPreProcessor(tokenizer))
    assert all(len(row["positives"]) >= 1 for row in processed)
    assert all(len(row["negatives"]) >= 1 for row in processed)
    words = tokenizer.decode(processed[0]["positives"][0], skip_special_tokens=True)
    assert words.replace(" ", "") == "textofp"
