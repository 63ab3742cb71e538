"""Tevatron's JSON Lines: one line per query, with its passages.

The datasets of Tevatron's retriever (``train``, and ``train_distil``, which reads ``score``) and of
its reranker read ``positive_passages`` and ``negative_passages``. Both choose with replacement
where there are few negatives and fail where there is none, so such queries are left out and
counted. The reranker's dataset asks every passage for a ``title``: it is empty, because the text is
already what the teacher was given. With ``scores: false`` passages have no score, and judged
positives that no teacher scored are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.config import Settings
from pipeline.distillation.formats.base import Column, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import (
    Examples,
    Ints,
    read_examples,
)
from pipeline.distillation.formats.support.files import json_scores
from pipeline.distillation.rules import left_out as codes


class TevatronOptions(Settings):
    """Options of tevatron."""

    scores: bool = Field(True, description="Give every passage the teacher's score.")


class Tevatron(TrainingFormat):
    """``query_id, query, positive_passages, negative_passages``."""

    Options = TevatronOptions
    suffix = ".jsonl"
    consumer = "Tevatron (retriever.driver.train, retriever.driver.train_distil, reranker)"
    loading = "python -m tevatron.retriever.driver.train_distil --dataset_path FOLDER/train/*.jsonl"

    def columns(self) -> list[Column]:
        """Fields of a line."""
        fields = [("docid", pa.string()), ("title", pa.string()), ("text", pa.string())]
        if self.options.scores:
            fields.append(("score", pa.float64()))
        passages = pa.list_(pa.struct(fields))
        return [
            Column("query_id", pa.string(), "the query's id"),
            Column("query", pa.string(), "the query's text"),
            Column("positive_passages", passages, "positives, best first; at least one"),
            Column("negative_passages", passages, "negatives, best first; at least one"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One line per query with a positive and a negative."""
        examples = read_examples(rows, scored=self.options.scores)
        groups = [group for group in examples.groups if len(group.negatives)]
        examples.left_out[codes.TOO_FEW_NEGATIVES] += len(examples.groups) - len(groups)

        def found() -> Iterator[dict[str, Any]]:
            for group in groups:
                yield {
                    "query_id": examples.queries.column(schema.QUERY_ID)[group.query].as_py(),
                    "query": examples.queries.column(schema.QUERY)[group.query].as_py(),
                    "positive_passages": self._passages(examples, group.positives),
                    "negative_passages": self._passages(examples, group.negatives),
                }

        return self.lines(found(), examples, path=f"{split}/{part}")

    def _passages(self, examples: Examples, rows: Ints) -> list[dict[str, Any]]:
        ids = examples.column(schema.DOC_ID, rows).to_pylist()
        texts = examples.column(schema.TEXT, rows).to_pylist()
        passages: list[dict[str, Any]] = [
            {"docid": doc_id, "title": "", "text": text}
            for doc_id, text in zip(ids, texts, strict=True)
        ]
        if self.options.scores:
            scores = json_scores(examples.scores[rows])
            passages = [p | {"score": s} for p, s in zip(passages, scores, strict=True)]
        return passages
