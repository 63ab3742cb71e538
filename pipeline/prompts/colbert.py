"""ColBERT's way with texts: ``artifact.metadata``, markers, mask padding and the skip list.

As in colbert-ai (colbert/modeling/tokenization, HF_ColBERT.mask):

* query: ``[CLS] [marker] query [SEP]``, cut and then padded with mask tokens to ``query_maxlen``;
  the mask tokens are scored, and attended to where ``attend_to_mask_tokens`` says so;
* document: ``[CLS] [marker] document [SEP]``, cut to ``doc_maxlen``; tokens on the skip list are
  attended to and not scored, and neither is a literal padding token.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import Template, TextTokenizer, TokenArena, distinct

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s, Int64s
    from pipeline.tokenization.plain_texts import SpecialTokens

#: Tokens that a text has with its special ones and its marker, and one of its own.
_SHORTEST: Final = 4


@dataclass(frozen=True)
class Metadata:
    """What ``artifact.metadata`` says; colbert-ai's defaults where it is silent.

    Attributes:
        dim: length of a token's vector.
        query_length: tokens of every query.
        document_length: tokens of a document at most.
        attend_to_masks: whether other tokens attend to a query's mask tokens.
        mask_punctuation: whether punctuation is on the skip list.
        query_marker: token after the first one of a query.
        document_marker: token after the first one of a document.
    """

    dim: int
    query_length: int
    document_length: int
    attend_to_masks: bool
    mask_punctuation: bool
    query_marker: str
    document_marker: str

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Metadata:
        """Of a checkpoint folder.

        Raises:
            ModelError: there is none, it asks for another similarity than cosine, or a value is
                not what it must be.
        """
        data = checkpoint.table("artifact.metadata", required=True)
        if data.get("similarity", "cosine") != "cosine":
            raise ModelError(
                f"{checkpoint.folder}/artifact.metadata: similarity '{data['similarity']}'; the "
                "late_interaction family computes cosine"
            )
        where = checkpoint.folder / "artifact.metadata"
        return cls(
            dim=whole_number(data, "dim", where=where, default=128),
            query_length=whole_number(
                data, "query_maxlen", where=where, default=32, least=_SHORTEST
            ),
            document_length=whole_number(
                data, "doc_maxlen", where=where, default=220, least=_SHORTEST
            ),
            attend_to_masks=yes_or_no(data, "attend_to_mask_tokens", where=where, default=False),
            mask_punctuation=yes_or_no(data, "mask_punctuation", where=where, default=True),
            query_marker=str(data.get("query_token_id", "[unused0]")),
            document_marker=str(data.get("doc_token_id", "[unused1]")),
        )


class ColbertTokenizer:
    """Queries and documents as token sequences."""

    def __init__(
        self, checkpoint: Checkpoint, metadata: Metadata, *, special_tokens: SpecialTokens
    ) -> None:
        self.metadata = metadata
        self.checkpoint = checkpoint
        self.texts = TextTokenizer(checkpoint, special_tokens=special_tokens)
        names = {
            **checkpoint.table("special_tokens_map.json"),
            **checkpoint.table("tokenizer_config.json", required=True),
        }
        self.pad = self._token(names.get("pad_token"))
        self.mask = self._token(names.get("mask_token"))
        single = self.texts.template(pair=False)
        self.query = _marked(single, self._token(metadata.query_marker), parts=2)
        self.document = _marked(single, self._token(metadata.document_marker), parts=1)
        marks = self.texts.words(list(string.punctuation) if metadata.mask_punctuation else [])
        #: The first id of each mark alone, not the mark's own id.
        self.skipped = np.unique(marks.token_ids[marks.offsets[:-1][marks.lengths > 0]])

    def _token(self, name: Any) -> int:
        text = name.get("content") if isinstance(name, dict) else name
        token = self.texts.library.token_to_id(text) if isinstance(text, str) else None
        if token is None:
            raise ModelError(
                f"{self.checkpoint.folder}: artifact.metadata or tokenizer_config.json names the "
                f"token {text!r}, which tokenizer.json lacks; fetch the checkpoint again"
            )
        return int(token)

    def encode(self, lists: CandidateLists, *, queries: int, documents: int) -> Sequences:
        """One sequence per distinct query, then one per distinct document.

        Links: ``query`` [Q] and ``document`` [N] to sequences; ``attended`` [S], how many leading
        tokens of a sequence others attend to.

        Args:
            lists: what is scored.
            queries: tokens of every query.
            documents: tokens of a document at most.
        """
        query_texts, query_of = distinct(lists.queries.column(schema.QUERY))
        document_texts, document_of = distinct(lists.documents.column(schema.TEXT))
        query_ids, query_offsets, attended = self._queries(query_texts, queries)
        arena = self.texts.encode(document_texts)
        kept = np.minimum(arena.lengths, documents - self.document.specials)
        ids, offsets, _ = self.document.assemble([(arena, np.arange(len(kept)), kept)])
        read = ~np.isin(ids, np.append(self.skipped, self.pad))
        links = {
            "query": query_of,
            "document": len(query_texts) + document_of,
            "attended": np.concatenate([attended, np.diff(offsets)]),
            schema.N_TOKENS: np.diff(offsets)[document_of],
            schema.TRUNCATED: (kept < arena.lengths)[document_of].astype(np.int64),
        }
        return _with_readouts(
            np.concatenate([query_ids, ids]),
            np.concatenate([query_offsets, query_offsets[-1] + offsets[1:]]),
            np.concatenate([np.ones(len(query_ids), dtype=bool), read]),
            links,
        )

    def _queries(self, texts: list[str], length: int) -> tuple[Int32s, Int64s, Int64s]:
        """Ids [T], offsets [S + 1] and attended tokens [S] of queries, all ``length`` long."""
        arena = self.texts.encode(texts)
        kept = np.minimum(arena.lengths, length - self.query.specials)
        padding = length - self.query.specials - kept
        masks = TokenArena(np.full(length, self.mask, dtype=np.int32), np.array([0, length]))
        ids, offsets, _ = self.query.assemble(
            [
                (arena, np.arange(len(texts)), kept),
                (masks, np.zeros(len(texts), dtype=np.int64), padding),
            ]
        )
        # colbert-ai puts masks wherever the padding's id stands, so a literal one becomes one too.
        ids[ids == self.pad] = self.mask
        unseen = np.zeros_like(padding) if self.metadata.attend_to_masks else padding
        return ids, offsets, length - unseen


def _marked(single: Template, marker: int, *, parts: int) -> Template:
    """The tokenizer's template of one text with a marker after its first special token."""
    before, after = single.pieces
    if len(before) == 0:
        raise ModelError(
            "tokenizer.json: no special token before a text; ColBERT's marker goes after it"
        )
    start = np.concatenate([before[:1], [marker], before[1:]]).astype(np.int32)
    pieces = (start, after, after[:0])[: parts + 1]
    types = tuple(np.zeros(len(piece), dtype=np.int8) for piece in pieces)
    return Template(pieces, types, (0,) * parts)


def _with_readouts(
    ids: Int32s, offsets: Int64s, read: npt.NDArray[np.bool_], links: dict[str, Int64s]
) -> Sequences:
    """Sequences that are read out wherever ``read`` [T] says."""
    places = np.arange(len(ids)) - np.repeat(offsets[:-1], np.diff(offsets))
    return Sequences(
        token_ids=ids,
        offsets=offsets,
        readout_positions=places[read].astype(np.int32),
        readout_offsets=np.append(0, np.cumsum(read))[offsets].astype(np.int64),
        links=links,
    )
