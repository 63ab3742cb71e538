"""Tevatron's distillation set for rerankers: an Arrow dataset as ``load_from_disk`` reads it.

Tevatron's ``megatron.driver.distill_train`` reads what its own ``annotate_with_teacher`` writes: a
dataset saved to disk with ``passages`` and, parallel to them, ``scores``. It keeps ``passages[0]``
as the positive of every group and samples the rest, so the best positive stands first and all other
documents after it, best first. Rows need one more document at least; others are left out and
counted. Hand ``FOLDER/train`` to ``--distill_dataset_path``. Titles are empty, because the text is
already what the teacher was given; scores are the teacher's raw ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.distillation.formats.base import Column, TrainingFormat, Written
from pipeline.distillation.formats.support.examples import (
    Examples,
    Group,
    Ints,
    read_examples,
)
from pipeline.distillation.formats.support.files import arrow_stream, lists
from pipeline.distillation.formats.support.rows import rest_best_first
from pipeline.distillation.rules import left_out as codes

_PASSAGE = pa.struct([pa.field("title", pa.string()), pa.field("text", pa.string())])


class TevatronDistill(TrainingFormat):
    """``query_id, query, passages, scores``."""

    suffix = ".arrow"
    consumer = "Tevatron (megatron.driver.distill_train)"
    loading = 'load_from_disk("FOLDER/train")'

    def columns(self) -> list[Column]:
        """Columns of the dataset."""
        return [
            Column("query_id", pa.string(), "the query's id"),
            Column("query", pa.string(), "the query's text"),
            Column("passages", pa.list_(_PASSAGE), "the best positive, then the rest, best first"),
            Column("scores", pa.list_(pa.float32()), "the teacher's score of each passage"),
        ]

    def write(self, rows: pa.Table, *, split: str, part: str) -> Written:
        """One row per query with a positive and another document."""
        examples = read_examples(rows)
        listed = [_documents(examples, group) for group in examples.groups]
        kept = [place for place, documents in enumerate(listed) if len(documents) > 1]
        examples.left_out[codes.TOO_FEW_DOCUMENTS] += len(listed) - len(kept)
        query = np.array([examples.groups[place].query for place in kept], dtype=np.int64)
        written = self.nothing(examples)
        if not kept:
            return written
        lengths = np.array([len(listed[place]) for place in kept], dtype=np.int64)
        documents = np.concatenate([listed[place] for place in kept])
        texts = examples.column(schema.TEXT, documents)
        titles = pa.array([""]).take(pa.array(np.zeros(len(documents), dtype=np.int64)))
        passages = pa.StructArray.from_arrays([titles, texts], fields=list(_PASSAGE))
        table = pa.Table.from_arrays(
            [
                examples.query_column(schema.QUERY_ID, query),
                examples.query_column(schema.QUERY, query),
                lists(passages, lengths),
                lists(examples.column(schema.SCORE, documents), lengths),
            ],
            schema=self.schema(),
        )
        path = f"{split}/{part}{self.suffix}"
        return replace(
            written, files={path: arrow_stream(table)}, rows=len(query), queries=len(query)
        )

    def finish(self, parts: Mapping[str, Sequence[str]]) -> Mapping[str, bytes]:
        """``state.json`` and ``dataset_info.json`` of each split, which name its files."""
        files: dict[str, bytes] = {}
        for split, names in parts.items():
            listed = json.dumps([split, *names]).encode()
            state: dict[str, Any] = {
                "_data_files": [{"filename": name} for name in names],
                "_fingerprint": hashlib.blake2b(listed, digest_size=8).hexdigest(),
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": split,
            }
            files[f"{split}/state.json"] = json.dumps(state, indent=2).encode()
            files[f"{split}/dataset_info.json"] = b"{}"
        return files

    def configurations(self) -> dict[str, dict[str, str]]:
        """None: ``load_dataset`` does not read a dataset that was saved to disk."""
        return {}


def _documents(examples: Examples, group: Group) -> Ints:
    return np.concatenate([group.positives[:1], rest_best_first(examples, group)])
