"""FlagEmbedding's JSON Lines: one line per query, with teacher scores in every line.

Its datasets of embedders and rerankers read a file, or every ``.jsonl`` of a folder: hand
``FOLDER/train`` to ``--train_data``. With ``--knowledge_distillation True`` the loader wants
``pos_scores`` and ``neg_scores`` as long as ``pos`` and ``neg``; without it, it drops them. It
divides by the number of negatives, so ``neg`` is never empty: queries without a negative are left
out and counted. Scores are the teacher's raw ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.distillation.formats.base import Column, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import (
    Examples,
    Group,
    read_examples,
)
from pipeline.distillation.formats.support.files import json_scores
from pipeline.distillation.rules import left_out as codes


class FlagEmbedding(TrainingFormat):
    """``query, pos, neg, pos_scores, neg_scores``."""

    suffix = ".jsonl"
    consumer = "FlagEmbedding (finetune of embedders and rerankers)"
    loading = (
        "python -m FlagEmbedding.finetune.reranker.encoder_only.base --train_data FOLDER/train"
    )

    def columns(self) -> list[Column]:
        """Fields of a line."""
        texts, scores = pa.list_(pa.string()), pa.list_(pa.float64())
        return [
            Column("query", pa.string(), "the query's text"),
            Column("pos", texts, "positives, best first; at least one"),
            Column("neg", texts, "negatives, best first; at least one"),
            Column("pos_scores", scores, "the teacher's score of each positive"),
            Column("neg_scores", scores, "the teacher's score of each negative"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One line per query with a positive and a negative."""
        examples = read_examples(rows)
        groups = [group for group in examples.groups if len(group.negatives)]
        examples.left_out[codes.TOO_FEW_NEGATIVES] += len(examples.groups) - len(groups)
        return self.lines(_lines(examples, groups), examples, path=f"{split}/{part}")


def _lines(examples: Examples, groups: list[Group]) -> Iterator[dict[str, Any]]:
    for group in groups:
        yield {
            "query": examples.queries.column(schema.QUERY)[group.query].as_py(),
            "pos": examples.column(schema.TEXT, group.positives).to_pylist(),
            "neg": examples.column(schema.TEXT, group.negatives).to_pylist(),
            "pos_scores": json_scores(examples.scores[group.positives]),
            "neg_scores": json_scores(examples.scores[group.negatives]),
        }
