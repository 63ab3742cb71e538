"""What pointwise families share: a query and a document in one sequence, and one score back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.checkpoints.heads import Activated, label_scores
from pipeline.prompts.long_documents import (
    AggregateSettings,
    LongDocuments,
    Pieces,
    aggregate,
    first_pieces,
    head_tail,
    windows,
)
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import groups, share_beginnings
from pipeline.tokenization.tokens import (
    TextTokenizer,
    TokenArena,
    Truncation,
    distinct_array,
    truncate_pairs,
)

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.sequences.arrays import Floats, Int32s, Int64s

Activation = Literal["none", "sigmoid"]

#: Link [N + 1] to the first sequence of each document, where documents have several.
_FIRST = "first"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much of a pair is read.

    Attributes:
        max_length: tokens of a sequence, special tokens included.
        query: tokens that the query is cut to before anything else; None: not cut first.
        truncation: which side gives way where a pair does not fit and is truncated.
        long_documents: what becomes of documents that do not fit beside their query.
        overlap: tokens that neighbouring chunks share.
    """

    max_length: int
    query: int | None = None
    truncation: Truncation = "longest_first"
    long_documents: LongDocuments = "truncate"
    overlap: int = 0


def encode_pairs(
    lists: CandidateLists,
    tokenizer: TextTokenizer,
    limits: Limits,
    *,
    segments: bool = False,
    causal: bool = False,
    prompt: str = "",
) -> Sequences:
    """One sequence per document, or per chunk of it, as the tokenizer's pair template says.

    An empty document is the template with nothing in its place, which is what upstream's batched
    tokenizer calls give (a single call with an empty second text would drop the pair's separator).

    Args:
        lists: what is scored.
        tokenizer: of the checkpoint.
        limits: what is kept.
        segments: whether the network takes token types.
        causal: whether a token sees only those before it. Sequences are then read at their last
            token, and those of one query share their beginning.
        prompt: stands before every query and is read as one text with it.
    """
    pair = tokenizer.template(pair=True)
    queries, query_text = distinct_array(lists.queries.column(schema.QUERY))
    if prompt:
        queries = pa.array([prompt + query for query in queries.to_pylist()], pa.string())
    documents, document_text = distinct_array(lists.documents.column(schema.TEXT))
    query_arena, document_arena = tokenizer.encode(queries), tokenizer.encode(documents)
    query_of = query_text[lists.query_of_document]
    query, whole = query_arena.lengths[query_of], document_arena.lengths[document_text]
    if limits.query is not None:
        query = np.minimum(query, limits.query)
    room = limits.max_length - pair.specials
    if limits.long_documents == "truncate":
        query, kept = truncate_pairs(query, whole, room=room, strategy=limits.truncation)
        parts = [(query_arena, query_of, query), (document_arena, document_text, kept)]
        ids, offsets, types = pair.assemble(parts)
        links = spent(np.diff(offsets), kept < whole)
        asked, begun = query_of, query
    else:
        if limits.query is None:
            query = np.minimum(query, np.maximum(room // 2, room - whole))
        query = np.minimum(query, room - 1)
        pieces = _pieces(document_arena, document_text, room - query, limits)
        of = pieces.document
        everything = np.arange(len(of), dtype=np.int64)
        ids, offsets, types = pair.assemble(
            [
                (query_arena, query_of[of], query[of]),
                (pieces.arena, everything, pieces.arena.lengths),
            ]
        )
        first = first_pieces(of, len(whole))
        cut = (limits.long_documents == "head_tail") & (whole > room - query)
        links = {_FIRST: first, **spent(np.diff(offsets[first]), cut)}
        asked, begun = query_of[of], query[of]
    if causal:
        before = len(pair.pieces[0]) + len(pair.pieces[1])
        return _read_last(ids, offsets, links, asked=asked, shared=begun + before)
    return Sequences.one_readout_each(
        ids, offsets, segment_ids=types if segments else None, links=links
    )


def _read_last(
    ids: Int32s, offsets: Int64s, links: dict[str, Int64s], *, asked: Int64s, shared: Int64s
) -> Sequences:
    """Sequences that are read at their last token, and go on after a beginning of their query's.

    A tokenizer without special tokens makes no token of two empty texts. Such a pair is a sequence
    all the same, of one token that stands for nothing: :func:`decode_pairs` gives it no score.

    Args:
        ids: int32 [T].
        offsets: int64 [S + 1].
        links: of the sequences.
        asked: int64 [S], the query of each.
        shared: int64 [S], tokens of it and of what stands around it.
    """
    ids, offsets, _ = never_empty(ids, offsets)
    last = np.diff(offsets) - 1
    sequences = Sequences.one_readout_each(
        ids, offsets, positions=last.astype(np.int32), links=links
    )
    shared = np.minimum(shared, last)  # a document may be empty, and nothing stand behind it
    return share_beginnings(sequences, groups(asked, shared), shared)


def never_empty(ids: Int32s, offsets: Int64s) -> tuple[Int32s, Int64s, npt.NDArray[np.bool_]]:
    """Sequences of which those without a token have one that stands for nothing.

    Args:
        ids: int32 [T].
        offsets: int64 [S + 1].

    Returns:
        ids, offsets, and bool [S], which have none of their own.
    """
    nothing = np.diff(offsets) == 0
    if nothing.any():
        ids = np.insert(ids, offsets[:-1][nothing], 0)
        offsets = offsets + np.append(0, np.cumsum(nothing))
    return ids, offsets, nothing


def _pieces(arena: TokenArena, texts: Int64s, room: Int64s, limits: Limits) -> Pieces:
    lengths = arena.lengths[texts]
    if limits.long_documents == "head_tail":
        return Pieces.cut(arena, texts, head_tail(lengths, room))
    return Pieces.cut(arena, texts, windows(lengths, room, limits.overlap))


def decode_pairs(
    sequences: Sequences,
    readouts: Floats,
    *,
    activation: Activated,
    settings: AggregateSettings,
    grades: tuple[float, ...] | None = None,
) -> Floats:
    """float32 [N]: a score of each sequence's logits [S, labels], then each document's aggregate.

    NaN for a document of whose pair the tokenizer made no token.

    Args:
        sequences: as :func:`encode_pairs` made them.
        readouts: float32 [S, labels]; see :func:`pipeline.checkpoints.heads.label_scores`.
        activation: of each sequence's logit or log-odds.
        settings: how chunks' scores become a document's.
        grades: of labels; the score is then the expected grade.
    """
    scores = label_scores(readouts, grades=grades)
    if activation == "sigmoid":
        scores = sigmoid(scores)
    elif activation == "tanh":
        scores = np.tanh(scores)
    if _FIRST in sequences.links:
        first = sequences.links[_FIRST]
        scores = aggregate(scores, first, how=settings.chunk_aggregate, top_k=settings.top_k)
    return np.where(sequences.links[schema.N_TOKENS] > 0, scores, np.float32(np.nan))


def sigmoid(logits: Floats) -> Floats:
    """The logistic function in float32, as ``torch.sigmoid`` of a float32 tensor; no overflow."""
    small = np.exp(-np.abs(logits.astype(np.float32)))
    scores: Floats = np.where(logits < 0, small, 1).astype(np.float32) / (1 + small)
    return scores


def spent(tokens: Int64s, truncated: npt.NDArray[np.bool_]) -> dict[str, Int64s]:
    """The links that tell a user what was read of each document.

    Args:
        tokens: int64 [N], tokens of all sequences of the document, query and special ones too.
        truncated: bool [N], whether some of the document's text was read by no sequence.
    """
    return {
        schema.N_TOKENS: tokens.astype(np.int64),
        schema.TRUNCATED: truncated.astype(np.int64),
    }
