"""MarginMSE for sentence-transformers: triplets with the teacher's margin.

``label`` is the teacher's score of the positive minus that of the negative, which is what
``MarginMSELoss`` (Hofstätter et al., arXiv:2010.02666) compares the student's margin with, of
bi-encoders and cross-encoders alike. It may be negative where a judged positive scores below.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, document_column
from pipeline.distillation.formats.support.rows import triplets


class MarginMse(TrainingFormat):
    """``query, positive, negative, label``."""

    Options = ContentOptions
    consumer = "sentence-transformers (MarginMSELoss)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Query, positive, negative and margin, in this order."""
        content = content_type(self.options.content)
        return [
            Column("query", pa.string(), "the query's text"),
            Column("positive", content, "a positive"),
            Column("negative", content, "a negative"),
            Column("label", pa.float32(), "score of the positive minus score of the negative"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query, positive and negative."""
        examples = read_examples(rows, content=self.options.content)
        query, positive, negative = triplets(examples, examples.left_out)
        # In float64: of two near float32 scores, the difference is what the student learns.
        scores = examples.scores.astype(np.float64)
        margins = (scores[positive] - scores[negative]).astype(np.float32)

        def block(at: slice) -> list[pa.Array]:
            return [
                examples.query_column(schema.QUERY, query[at]),
                document_column(examples, positive[at], self.options.content),
                document_column(examples, negative[at], self.options.content),
                pa.array(margins[at]),
            ]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
