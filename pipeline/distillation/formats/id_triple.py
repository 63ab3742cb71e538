"""The ID-only triple: lists of ids with scores; texts of queries and documents beside them.

Three configurations, as the public distillation sets of late interaction models have them:
``train`` (``query_id, document_ids, scores``), ``queries`` (``query_id, text``) and ``documents``
(``document_id, text``), each document once in the whole set. PyLate's ``KDProcessing`` and
sentence-transformers' ``resolve_ids`` put them together. Both collators need lists of one length,
so every row has the best positive first and then the same number of its other documents, best
first. With ``content: image`` the document's column is ``image``, which only sentence-transformers
resolves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import schema
from pipeline.distillation.formats.base import Column, ContentOptions, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import Examples, Ints, read_examples
from pipeline.distillation.formats.support.files import (
    content_type,
    document_column,
    features_metadata,
    lists,
    parquet,
)
from pipeline.distillation.formats.support.rows import best_first

_QUERIES = pa.schema([pa.field("query_id", pa.string()), pa.field("text", pa.string())])


class IdTripleOptions(ContentOptions):
    """Options of id_triple."""

    num_negatives: int | None = Field(
        None,
        ge=1,
        description="Documents of a row beside its positive; null: the number of negatives that "
        "the set was mined with.",
    )


class IdTriple(TrainingFormat):
    """``query_id, document_ids, scores``, with queries and documents beside them."""

    Options = IdTripleOptions
    consumer = "PyLate (KDProcessing), sentence-transformers (resolve_ids)"
    loading = 'load_dataset("FOLDER", "train", split="train")'
    separate_documents = True

    def columns(self) -> list[Column]:
        """Columns of the configuration ``train``."""
        return [
            Column("query_id", pa.string(), "a row of `queries` (query_id, text)"),
            Column(
                "document_ids",
                pa.list_(pa.string()),
                f"rows of `documents` (document_id, {self._content}): the best positive, then the "
                "others, best first",
            ),
            Column("scores", pa.list_(pa.float32()), "the teacher's score of each document"),
        ]

    @property
    def _content(self) -> str:
        return str(self.options.content)

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query, and the text of its query."""
        examples = read_examples(rows, content=self.options.content)
        query, documents = self._lists(examples)

        def block(at: slice) -> list[pa.Array]:
            taken = documents[at]
            lengths = np.full(len(taken), taken.shape[1])
            return [
                examples.query_column(schema.QUERY_ID, query[at]),
                lists(examples.column(schema.DOC_ID, taken.ravel()), lengths),
                lists(examples.column(schema.SCORE, taken.ravel()), lengths),
            ]

        written = self.parquet(block, examples, query, path=f"{split}/{part}")
        if not len(query):
            return written
        texts = pa.Table.from_arrays(
            [
                examples.query_column(schema.QUERY_ID, query),
                examples.query_column(schema.QUERY, query),
            ],
            schema=_QUERIES,
        )
        path = f"queries/{split}-{part}{self.suffix}"
        return replace(
            written,
            files={**written.files, path: parquet([texts], _QUERIES)},
            documents=_distinct(examples, documents.ravel()),
        )

    def write_documents(
        self, rows: pa.Table, wanted: frozenset[str], *, split: str, part: str
    ) -> Mapping[str, bytes]:
        """The wanted documents of a part, each once, in the order of the part."""
        examples = read_examples(rows, content=self.options.content)
        used = np.unique(self._lists(examples)[1].ravel())
        ids = examples.column(schema.DOC_ID, used).to_pylist()
        first = {
            doc_id: row for doc_id, row in reversed(list(zip(ids, used.tolist(), strict=True)))
        }
        taken = np.array(sorted(first[doc_id] for doc_id in wanted), dtype=np.int64)
        layout = pa.schema(
            [
                pa.field("document_id", pa.string()),
                pa.field(self._content, content_type(self.options.content)),
            ]
        )
        blocks: Iterable[pa.Table] = (
            pa.Table.from_arrays(
                [
                    examples.column(schema.DOC_ID, taken[start : start + 1_000]),
                    document_column(examples, taken[start : start + 1_000], self.options.content),
                ],
                schema=layout,
            )
            for start in range(0, len(taken), 1_000)
        )
        data = parquet(blocks, layout.with_metadata(features_metadata(layout)))
        return {f"documents/{split}-{part}{self.suffix}": data}

    def configurations(self) -> dict[str, dict[str, str]]:
        """``train``, ``queries`` and ``documents``."""
        return {
            "train": {split: f"{split}/*{self.suffix}" for split in ("train", "dev")},
            "queries": {"train": f"queries/*{self.suffix}"},
            "documents": {"train": f"documents/*{self.suffix}"},
        }

    def _lists(self, examples: Examples) -> tuple[Ints, Ints]:
        return best_first(examples, self.number_of_negatives(), examples.left_out)


def _distinct(examples: Examples, rows: Ints) -> list[str]:
    ids: list[str] = pc.unique(examples.column(schema.DOC_ID, np.unique(rows))).to_pylist()
    return ids
