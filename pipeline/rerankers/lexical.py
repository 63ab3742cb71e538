"""A deterministic overlap scorer without weights, for dry runs, tests and load tests.

The score is the share of the query's distinct words that occur in the document, plus a thousandth
of the share of the document's words that are query words, which orders documents that match the
same words. It is no substitute for a model; it exercises every other part of the product.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final
from zlib import crc32

import numpy as np

from pipeline import schema
from pipeline.rerankers.base import Reranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import Template, TokenArena, distinct

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists

_WORD: Final = re.compile(r"\w+")
_SEPARATOR: Final = -1
_NOTHING: Final = np.zeros(0, dtype=np.int32)
_NO_TYPES: Final = np.zeros(0, dtype=np.int8)


class Lexical(Reranker):
    """Word overlap of query and document."""

    pointwise = True
    numpy_only: ClassVar[bool] = True
    score_scale = "overlap"

    def encode(self, lists: CandidateLists) -> Sequences:
        """``query words, separator, document words`` as 31-bit hashes of lower-cased words."""
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        documents, document_text = distinct(lists.documents.column(schema.TEXT))
        query_arena, document_arena = _hashed(queries), _hashed(documents)
        of_document = query_text[lists.query_of_document]
        separator = np.array([_SEPARATOR], dtype=np.int32)
        template = Template(
            (_NOTHING, separator, _NOTHING), (_NO_TYPES, np.zeros(1, np.int8), _NO_TYPES), (0, 0)
        )
        ids, offsets, _ = template.assemble(
            [
                (query_arena, of_document, query_arena.lengths[of_document]),
                (document_arena, document_text, document_arena.lengths[document_text]),
            ]
        )
        return Sequences.one_readout_each(ids, offsets)

    def forward(self, batch: Batch) -> Floats:
        """float32 [b, 1]: the overlap of each pair."""
        scores = np.zeros((len(batch.lengths), 1), dtype=np.float32)
        for row, (start, stop) in enumerate(
            zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
        ):
            words = batch.token_ids[start:stop]
            middle = int(np.argmax(words == _SEPARATOR))
            query, document = np.unique(words[:middle]), words[middle + 1 :]
            if len(query) and len(document):
                matched = np.isin(document, query)
                found = len(np.unique(document[matched]))
                scores[row] = found / len(query) + 0.001 * matched.mean()
        return scores

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The overlap itself."""
        return np.ascontiguousarray(readouts[:, 0])


def _hashed(texts: list[str]) -> TokenArena:
    pieces = [
        np.array(
            [crc32(word.encode()) >> 1 for word in _WORD.findall(text.lower())], dtype=np.int32
        )
        for text in texts
    ]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return TokenArena(np.concatenate(pieces) if pieces else _NOTHING, offsets)
