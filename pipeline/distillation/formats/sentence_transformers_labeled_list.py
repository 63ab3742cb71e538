"""Labelled lists for sentence-transformers: one row per query, for listwise losses.

``ListNetLoss``, ``LambdaLoss``, ``ListMLELoss``, ``PListMLELoss``, ``RankNetLoss`` and
``ADRMSELoss`` of cross-encoders read a query, a list of documents and a list of labels of the same
length; lists of different queries may differ in length. The label column is called ``scores`` (the
teacher's raw scores) or, with ``labels: binary``, ``labels``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, document_column, lists


class LabeledListOptions(ContentOptions):
    """Options of sentence_transformers_labeled_list."""

    labels: Literal["scores", "binary"] = Field(
        "scores", description="scores: the teacher's; binary: 1 for positives, 0 for negatives."
    )


class LabeledList(TrainingFormat):
    """``query, documents, scores`` or ``query, documents, labels``."""

    Options = LabeledListOptions
    consumer = "sentence-transformers (CrossEncoderTrainer)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Query, documents and labels, in this order."""
        content = pa.list_(content_type(self.options.content))
        label = Column("scores", pa.list_(pa.float32()), "the teacher's scores, in their order")
        if self.options.labels == "binary":
            label = Column("labels", pa.list_(pa.int64()), "1 for each positive, 0 for the others")
        return [
            Column("query", pa.string(), "the query's text"),
            Column("documents", content, "positives, then negatives, both best first"),
            label,
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query that has a positive."""
        scored = self.options.labels == "scores"
        examples = read_examples(rows, content=self.options.content, scored=scored)
        query = np.array([group.query for group in examples.groups], dtype=np.int64)

        def block(at: slice) -> list[pa.Array]:
            groups = examples.groups[at]
            listed = [np.concatenate([group.positives, group.negatives]) for group in groups]
            lengths = np.array([len(one) for one in listed], dtype=np.int64)
            documents = np.concatenate(listed)
            if scored:
                labels = examples.column(schema.SCORE, documents)
            else:
                sizes = [(len(group.positives), len(group.negatives)) for group in groups]
                labels = pa.array([x for p, n in sizes for x in [1] * p + [0] * n], pa.int64())
            content = document_column(examples, documents, self.options.content)
            texts = examples.query_column(schema.QUERY, query[at])
            return [texts, lists(content, lengths), lists(labels, lengths)]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
