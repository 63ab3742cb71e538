"""Labelled pairs for sentence-transformers: one row per query and document.

``label`` is always the last column. With ``labels: scores`` it is called ``score`` and holds the
teacher's raw score (``MSELoss`` of cross-encoders, ``CoSENTLoss`` of bi-encoders); with ``binary``
it is called ``label`` and is 1 for positives, 0 for negatives (``BinaryCrossEntropyLoss``). The
library takes columns other than ``label, labels, score, scores`` by their order, as text: there are
no ids.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, document_column
from pipeline.distillation.formats.support.rows import pairs


class LabeledPairOptions(ContentOptions):
    """Options of sentence_transformers_labeled_pair."""

    labels: Literal["scores", "binary"] = Field(
        "scores", description="scores: the teacher's; binary: 1 for positives, 0 for negatives."
    )


class LabeledPair(TrainingFormat):
    """``query, document, score`` or ``query, document, label``."""

    Options = LabeledPairOptions
    consumer = "sentence-transformers (CrossEncoderTrainer, SentenceTransformerTrainer)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Query, document and label, in this order."""
        document = Column("document", content_type(self.options.content), "what was scored")
        label = Column("score", pa.float32(), "the teacher's score")
        if self.options.labels == "binary":
            label = Column("label", pa.int64(), "1 for a positive, 0 for a negative")
        return [Column("query", pa.string(), "the query's text"), document, label]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query and document, positives first."""
        scored = self.options.labels == "scores"
        examples = read_examples(rows, content=self.options.content, scored=scored)
        query, document, positive = pairs(examples)

        def block(at: slice) -> list[pa.Array]:
            label = (
                examples.column(schema.SCORE, document[at]) if scored else pa.array(positive[at])
            )
            return [
                examples.query_column(schema.QUERY, query[at]),
                document_column(examples, document[at], self.options.content),
                label,
            ]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
