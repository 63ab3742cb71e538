"""DistillKLDiv for sentence-transformers: documents as columns, with the teacher's scores.

``DistillKLDivLoss`` of bi-encoders and multi-vector encoders compares softmax(scores / temperature)
of teacher and student over the list, so further positives belong into it. One row per query: the
best positive first, then the best of all its other documents, the same number in every row. The
scores are the teacher's raw ones: hand the set's suggested temperature to the loss as
``teacher_temperature``.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import read_examples
from pipeline.distillation.formats.support.files import content_type, scored_columns
from pipeline.distillation.formats.support.rows import best_first


class DistillKLDivOptions(ContentOptions):
    """Options of sentence_transformers_distill_kldiv."""

    num_negatives: int | None = Field(
        None,
        ge=1,
        description="Documents of a row beside its positive; null: the number of negatives that "
        "the set was mined with.",
    )


class DistillKLDiv(TrainingFormat):
    """``query, document_1, ..., document_n, scores``."""

    Options = DistillKLDivOptions
    consumer = "sentence-transformers (DistillKLDivLoss)"
    loading = 'load_dataset("FOLDER", split="train")'

    def columns(self) -> list[Column]:
        """Query, documents and scores, in this order."""
        content = content_type(self.options.content)
        documents = [Column("document_1", content, "the best positive")]
        documents += [
            Column(f"document_{n}", content, "the best of the others, best first")
            for n in range(2, self.number_of_negatives() + 2)
        ]
        return [
            Column("query", pa.string(), "the query's text"),
            *documents,
            Column("scores", pa.list_(pa.float32()), "of each document"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query."""
        examples = read_examples(rows, content=self.options.content)
        query, documents = best_first(examples, self.number_of_negatives(), examples.left_out)

        def block(at: slice) -> list[pa.Array]:
            columns = scored_columns(examples, documents[at], self.options.content)
            return [examples.query_column(schema.QUERY, query[at]), *columns]

        return self.parquet(block, examples, query, path=f"{split}/{part}")
