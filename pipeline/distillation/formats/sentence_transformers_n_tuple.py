"""n-tuples with scores for sentence-transformers: a positive and the same number of negatives.

For losses that take several negatives as columns: ``MultipleNegativesRankingLoss`` (which ignores
the scores) and ``MarginMSELoss`` (which makes margins of them). Every row must have the same number
of columns, so queries with fewer negatives are left out and counted.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, scored_columns
from pipeline.distillation.formats.support.rows import tuples


class NTupleOptions(ContentOptions):
    """Options of sentence_transformers_n_tuple."""

    num_negatives: int | None = Field(
        None, ge=1, description="Negatives of a row; null: what the set was mined with."
    )


class NTuple(TrainingFormat):
    """``query, positive, negative_1, ..., negative_n, scores``."""

    Options = NTupleOptions
    consumer = "sentence-transformers (SentenceTransformerTrainer, CrossEncoderTrainer)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Query, positive, negatives and scores, in this order."""
        content = content_type(self.options.content)
        negatives = [
            Column(f"negative_{n}", content, f"negative {n}, best first")
            for n in range(1, self.number_of_negatives() + 1)
        ]
        return [
            Column("query", pa.string(), "the query's text"),
            Column("positive", content, "a positive"),
            *negatives,
            Column("scores", pa.list_(pa.float32()), "of the positive, then of each negative"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query and positive."""
        examples = read_examples(rows, content=self.options.content)
        query, documents = tuples(examples, self.number_of_negatives(), examples.left_out)

        def block(at: slice) -> list[pa.Array]:
            columns = scored_columns(examples, documents[at], self.options.content)
            return [examples.query_column(schema.QUERY, query[at]), *columns]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
