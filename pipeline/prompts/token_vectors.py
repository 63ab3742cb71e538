"""Queries and documents whose tokens are read out one by one, each a vector.

* query: the tokenizer's first special token, a marker where there is one, prompt and query, the
  last special tokens; then tokens that fill it up to a length. All give vectors, those that fill it
  as well, whether or not other tokens attend to them.
* document: likewise without filling; tokens on the skip list are attended to and give no vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.errors import ModelError
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import Template, TextTokenizer, TokenArena, distinct

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.sequences.arrays import Int32s, Int64s


@dataclass(frozen=True, kw_only=True)
class SideRules:
    """What is put around the texts of queries, or documents, and which tokens give vectors.

    Attributes:
        marker: id of the token behind the first one; None: no token.
        prompt: text before every text.
        skipped: ids that give no vector.
        kept: the only ids that do; None: all.
    """

    marker: int | None
    prompt: str = ""
    skipped: tuple[int, ...] = ()
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Filling:
    """What fills queries.

    Attributes:
        token: its id.
        attended: whether other tokens attend to it.
    """

    token: int
    attended: bool


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens of a text, special ones and markers included.

    Attributes:
        query: at most.
        filled: of a query at least.
        document: at most.
    """

    query: int
    filled: int
    document: int


class TokenVectorTokenizer:
    """Queries and documents as token sequences.

    Attributes:
        texts: the checkpoint's tokenizer.
        skipped: int64, ids of a document's tokens that give no vector.
        padding: id that counts as padding where a text holds it: it becomes what fills a query, and
            gives no vector in a document; None where it is a token like others.
    """

    def __init__(
        self,
        texts: TextTokenizer,
        *,
        query: SideRules,
        document: SideRules,
        filling: Filling | None,
        padding: int | None = None,
    ) -> None:
        self.texts = texts
        self.rules = query, document
        self.filling = filling
        self.skipped = np.array(document.skipped, dtype=np.int64)
        self.padding = padding
        single = texts.template(pair=False)
        self.query = _marked(single, query.marker, parts=2)
        self.document = _marked(single, document.marker, parts=1)

    def encode(self, lists: CandidateLists, lengths: Lengths) -> Sequences:
        """One sequence per distinct query, then one per distinct document.

        Links: ``query`` [Q] and ``document`` [N] to sequences; ``attended`` [S], how many leading
        tokens of a sequence others attend to.

        Args:
            lists: what is scored.
            lengths: of texts.
        """
        asked, told = self.rules
        query_texts, query_of = distinct(lists.queries.column(schema.QUERY))
        document_texts, document_of = distinct(lists.documents.column(schema.TEXT))
        query_ids, query_offsets, attended = self._queries(query_texts, lengths)
        arena = self.texts.encode([told.prompt + text for text in document_texts])
        kept = np.minimum(arena.lengths, lengths.document - self.document.specials)
        ids, offsets, _ = self.document.assemble([(arena, np.arange(len(kept)), kept)])
        read = ~np.isin(ids, self.skipped)
        if told.kept is not None:
            read &= np.isin(ids, told.kept)
        if self.padding is not None:
            read &= ids != self.padding
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
            np.concatenate([~np.isin(query_ids, asked.skipped), read]),
            links,
        )

    def _queries(self, texts: list[str], lengths: Lengths) -> tuple[Int32s, Int64s, Int64s]:
        """Ids [T], offsets [S + 1] and attended tokens [S] of queries."""
        arena = self.texts.encode([self.rules[0].prompt + text for text in texts])
        kept = np.minimum(arena.lengths, lengths.query - self.query.specials)
        padding = np.maximum(0, lengths.filled - self.query.specials - kept)
        token = 0 if self.filling is None else self.filling.token
        fill = np.full(lengths.filled, token, dtype=np.int32)
        filling = TokenArena(fill, np.array([0, len(fill)]))
        ids, offsets, _ = self.query.assemble(
            [
                (arena, np.arange(len(texts)), kept),
                (filling, np.zeros(len(texts), dtype=np.int64), padding),
            ]
        )
        unseen = np.zeros_like(padding)
        if self.filling is not None:
            if self.padding is not None:
                ids[ids == self.padding] = self.filling.token
            unseen = unseen if self.filling.attended else padding
        return ids, offsets, np.diff(offsets) - unseen


def _marked(single: Template, marker: int | None, *, parts: int) -> Template:
    """The tokenizer's template of one text with a marker after its first special token."""
    before, after = single.pieces
    if marker is not None:
        if len(before) == 0:
            raise ModelError(
                "tokenizer.json: no special token before a text; ColBERT's marker goes after it"
            )
        before = np.concatenate([before[:1], [marker], before[1:]]).astype(np.int32)
    pieces = (before, after, after[:0])[: parts + 1]
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
