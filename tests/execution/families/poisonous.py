"""A family that crashes, hangs or raises on marked queries; others it scores as lexical does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.rerankers.lexical import Lexical
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch


class Poisonous(Lexical):
    """A query with a word such as ``abortinencode`` does that there."""

    def encode(self, lists: CandidateLists) -> Sequences:
        _misbehave("inencode", " ".join(_scored_queries(lists)))
        return super().encode(lists)

    def forward(self, batch: Batch) -> torch.Tensor:
        for deed in ("abort", "raise", "hang"):
            if _token(f"{deed}inforward") in batch.token_ids:
                _misbehave("inforward", f"{deed}inforward")
        return super().forward(batch)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        _misbehave("indecode", " ".join(_scored_queries(lists)))
        return super().decode(lists, sequences, readouts)


def _scored_queries(lists: CandidateLists) -> list[str]:
    """Texts of the queries of which any document is to be scored."""
    texts: list[str] = lists.queries.column(schema.QUERY).to_pylist()
    return [texts[i] for i in np.unique(lists.query_of_document)]


def _misbehave(where: str, text: str) -> None:
    if f"abort{where}" in text:
        os.write(2, b"the end of a worker\n")
        os.abort()
    if f"raise{where}" in text:
        raise IndexError("the model does not like this query")
    if f"hang{where}" in text:
        time.sleep(3600)


def _token(word: str) -> int:
    """The id that the lexical family gives a word."""
    return crc32(word.encode()) >> 1
