"""FlagEmbedding's own datasets and collator read our lines, and its reranker takes a step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from FlagEmbedding.abc.finetune.embedder import AbsArguments as embedder_arguments
from FlagEmbedding.abc.finetune.embedder import AbsDataset as embedder
from FlagEmbedding.abc.finetune.reranker import AbsArguments as reranker_arguments
from FlagEmbedding.abc.finetune.reranker import AbsDataset as reranker
from FlagEmbedding.finetune.reranker.encoder_only.base.modeling import CrossEncoderModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

SCORES = {
    "text of p": 2.0,
    "text of o": 1.5,
    "text of n": 1.0,
    "text of m": -0.5,
    "text of l": -2.5,
}


@pytest.mark.parametrize("distill", [True, False])
def test_reranker(exported: Any, checkpoint: str, tmp_path: Path, distill: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    arguments = reranker_arguments.AbsRerankerDataArguments(
        train_data=[exported("flag_embedding") + "/train"],
        train_group_size=4,
        knowledge_distillation=distill,
        cache_path=str(tmp_path / "cache"),
    )
    data = reranker.AbsRerankerTrainDataset(arguments, tokenizer)
    assert len(data) == 8
    batch = [data[i] for i in range(4)]
    for pairs, scores in batch:
        assert len(pairs) == 4
        assert (scores is not None and scores[0] in (2.0, 1.5)) is distill
    collated = reranker.AbsRerankerCollator(tokenizer)(batch)
    base = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    model = CrossEncoderModel(base, tokenizer=tokenizer, train_batch_size=4)
    loss = model.train()(pair=collated["pair"], teacher_scores=collated["teacher_scores"]).loss
    assert math.isfinite(loss.item())
    loss.backward()


def test_embedder(exported: Any, checkpoint: str, tmp_path: Path) -> None:
    arguments = embedder_arguments.AbsEmbedderDataArguments(
        train_data=[exported("flag_embedding") + "/train"],
        train_group_size=3,
        knowledge_distillation=True,
        cache_path=str(tmp_path / "cache"),
    )
    data = embedder.AbsEmbedderTrainDataset(arguments, AutoTokenizer.from_pretrained(checkpoint))
    for place in range(len(data)):
        query, passages, scores = data[place]
        assert query.startswith("query q")
        assert [SCORES[text] for text in passages] == scores
