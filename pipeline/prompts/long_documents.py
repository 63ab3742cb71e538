"""What becomes of documents that do not fit beside their query: pure functions over lengths.

Documents are cut by their own tokens, so the special tokens around them are never lost:
``truncate`` keeps the beginning, ``head_tail`` the beginning and the end, ``chunk`` scores
overlapping windows of the whole document and aggregates their scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pipeline.sequences.ragged import ragged_range
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokens import TokenArena

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Floats, Int64s

LongDocuments = Literal["truncate", "head_tail", "chunk"]
Aggregate = Literal["max", "mean_top_k"]


class AggregateSettings(SpecialTokenSettings):
    """Settings of every pointwise family: how the scores of a document's chunks become one."""

    chunk_aggregate: Aggregate = Field(
        "max", description="A chunked document's score: its best chunk, or the mean of its top_k."
    )
    top_k: int = Field(3, ge=1, description="Chunks that chunk_aggregate: mean_top_k averages.")


class LongDocumentSettings(AggregateSettings):
    """Settings of pointwise families whose upstream truncates."""

    long_documents: LongDocuments = Field(
        "truncate",
        description="truncate keeps the beginning, as upstream does; head_tail the beginning and "
        "the end; chunk scores overlapping windows. Where the pair does not fit, head_tail and "
        "chunk keep at most half of the room for the query.",
    )
    chunk_overlap: int = Field(
        80, ge=0, description="Tokens that neighbouring chunks share; at most a quarter of one."
    )


@dataclass(frozen=True)
class Spans:
    """Contiguous stretches of documents' tokens; a piece is one or more of them.

    Attributes:
        piece: int64 [K], the piece that each span is of, in order.
        document: int64 [K], the document that each span is of.
        starts: int64 [K], first token, counted from the document's own.
        counts: int64 [K], tokens.
    """

    piece: Int64s
    document: Int64s
    starts: Int64s
    counts: Int64s


@dataclass(frozen=True)
class Pieces:
    """Document tokens of ``S`` sequences.

    Attributes:
        document: int64 [S], the document that each piece is of, in order.
        arena: the tokens of each piece, [S] texts.
    """

    document: Int64s
    arena: TokenArena

    @classmethod
    def cut(cls, arena: TokenArena, texts: Int64s, spans: Spans) -> Pieces:
        """Take the spans out of the documents.

        Args:
            arena: token ids of the distinct texts.
            texts: int64 [N], which text each document is.
            spans: which tokens of it each piece takes, in order.
        """
        starts = arena.offsets[texts[spans.document]] + spans.starts
        ids = arena.token_ids[ragged_range(starts, spans.counts)]
        ends = np.append(0, np.cumsum(spans.counts)).astype(np.int64)
        last = np.append(spans.piece[1:] != spans.piece[:-1], True)[: len(spans.piece)]
        return cls(spans.document[last], TokenArena(ids, np.append(0, ends[1:][last])))


def head_tail(lengths: Int64s, room: Int64s) -> Spans:
    """The whole document where it fits, else its beginning and its end, as much of each.

    Args:
        lengths: int64 [N], tokens of each document.
        room: int64 [N], tokens there is room for; an odd one goes to the beginning.
    """
    documents = np.arange(len(lengths), dtype=np.int64)
    kept = np.minimum(lengths, room)
    head = np.where(lengths > room, kept - kept // 2, kept)
    tail = kept - head
    return Spans(
        piece=np.repeat(documents, 2),
        document=np.repeat(documents, 2),
        starts=np.stack([np.zeros_like(head), lengths - tail], axis=1).reshape(-1),
        counts=np.stack([head, tail], axis=1).reshape(-1),
    )


def windows(lengths: Int64s, room: Int64s, overlap: int) -> Spans:
    """Overlapping windows that together cover each document.

    Every window of a document that does not fit is full: the last one is pulled back to end with
    the document, so it may share more than ``overlap`` with its neighbour. This is what
    jina-reranker-v2's ``rerank()`` does, which also caps the overlap at a quarter of the window.

    Args:
        lengths: int64 [N], tokens of each document; an empty one is one empty window.
        room: int64 [N], tokens of a window, at least 1.
        overlap: tokens that neighbours share.
    """
    step = room - np.minimum(overlap, room // 4)
    excess = np.maximum(lengths - room, 0)
    count = 1 + -(-excess // step)
    document = np.repeat(np.arange(len(lengths), dtype=np.int64), count)
    nth = ragged_range(np.zeros_like(count), count)
    starts = np.minimum(nth * step[document], excess[document])
    return Spans(
        piece=np.arange(len(document), dtype=np.int64),
        document=document,
        starts=starts,
        counts=np.minimum(lengths, room)[document],
    )


def first_pieces(document: Int64s, count: int) -> Int64s:
    """int64 [N + 1]: the first piece of each of ``count`` documents, from pieces in order."""
    return np.searchsorted(document, np.arange(count + 1)).astype(np.int64)


def aggregate(scores: Floats, first: Int64s, *, how: Aggregate, top_k: int) -> Floats:
    """One score per document.

    Args:
        scores: float32 [S], of the pieces; activations are applied before, not after.
        first: int64 [N + 1], the first piece of each document; every document has one.
        how: ``max``, or ``mean_top_k`` over the best ``top_k`` pieces, or all where there are
            fewer.
        top_k: see ``how``.

    Returns:
        float32 [N]; NaN where any piece of the document is NaN.
    """
    if len(first) == 1:
        return np.zeros(0, dtype=np.float32)
    if how == "max":
        return np.maximum.reduceat(scores, first[:-1])
    counts = np.diff(first)
    document = np.repeat(np.arange(len(counts)), counts)
    best_first = np.lexsort((-scores, document))
    nth = ragged_range(np.zeros_like(counts), counts)
    taken = np.where(nth < top_k, scores[best_first], 0).astype(np.float64)
    means = np.add.reduceat(taken, first[:-1]) / np.minimum(counts, top_k)
    broken = np.logical_or.reduceat(np.isnan(scores), first[:-1])
    return np.where(broken, np.nan, means).astype(np.float32)
