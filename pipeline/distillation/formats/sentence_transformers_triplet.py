"""Triplets for sentence-transformers: every positive with every negative of its query.

For ``TripletLoss``, ``MultipleNegativesRankingLoss`` and its cached form, of bi-encoders and
cross-encoders. The library takes the columns by their order; there is no label. Positives without a
teacher's score are kept, for nothing here needs it.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, document_column
from pipeline.distillation.formats.support.rows import triplets


class Triplet(TrainingFormat):
    """``query, positive, negative``."""

    Options = ContentOptions
    consumer = "sentence-transformers (SentenceTransformerTrainer, CrossEncoderTrainer)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Anchor, positive, negative, in this order."""
        content = content_type(self.options.content)
        return [
            Column("query", pa.string(), "the query's text"),
            Column("positive", content, "a positive"),
            Column("negative", content, "a negative"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query, positive and negative."""
        examples = read_examples(rows, content=self.options.content, scored=False)
        query, positive, negative = triplets(examples, examples.left_out)

        def block(at: slice) -> list[pa.Array]:
            return [
                examples.query_column(schema.QUERY, query[at]),
                document_column(examples, positive[at], self.options.content),
                document_column(examples, negative[at], self.options.content),
            ]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
