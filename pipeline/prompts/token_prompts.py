"""Candidate lists as prompts that end where a token is asked for: ids, cuts, shared beginnings.

A prompt that fits is tokenised as its template says. One that does not loses tokens of the
document, and of the query only where there is no room for it alone; words of the prompt stay. Then
words and texts of a joined template are tokenised apart, as nothing says where the token of a seam
belongs; a text takes the space before it along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline import schema
from pipeline.errors import ConfigurationError
from pipeline.prompts.long_documents import (
    LongDocuments,
    Pieces,
    first_pieces,
    head_tail,
    windows,
)
from pipeline.prompts.pairs import spent
from pipeline.prompts.token_template import Place, PromptTemplate, Run, items
from pipeline.sequences.ragged import ragged_range
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import common_beginnings, groups, share_beginnings
from pipeline.tokenization.tokens import Template, TextTokenizer, TokenArena, distinct

if TYPE_CHECKING:
    from pipeline.candidates.lists import CandidateLists
    from pipeline.sequences.arrays import Int32s, Int64s


@dataclass(frozen=True, kw_only=True)
class PromptLimits:
    """How much of a prompt is read.

    Attributes:
        total: tokens of a sequence, all words of the prompt included.
        query: tokens that the query's part is cut to before anything else; None: not cut first.
        document: the same of the document's part.
        long_documents: what becomes of documents that do not fit beside their query.
        overlap: tokens that neighbouring chunks share.
    """

    total: int
    query: int | None = None
    document: int | None = None
    long_documents: LongDocuments = "truncate"
    overlap: int = 0


@dataclass(frozen=True)
class Texts:
    """Queries and documents of a unit, each distinct text once.

    Attributes:
        texts: the distinct texts of a place.
        of: int64 [N], which of them each document's, or its query's, is.
    """

    texts: dict[Place, list[str]]
    of: dict[Place, Int64s]


@dataclass(frozen=True)
class Prompts:
    """Token ids of ``S`` prompts: int32 [T] flat, int64 [S + 1] offsets, int64 [S] documents."""

    token_ids: Int32s
    offsets: Int64s
    document: Int64s


class TokenPrompt:
    """A template, lowered to the ids of a tokenizer.

    Attributes:
        frame: fixed ids before, between and behind the two texts, where they are tokenised apart.
    """

    def __init__(
        self,
        template: PromptTemplate,
        tokenizer: TextTokenizer,
        *,
        instruction: str,
        add_special_tokens: bool,
        where: str,
    ) -> None:
        """Lower a template.

        Args:
            template: of the prompt.
            tokenizer: of the model.
            instruction: what stands in its place, if the template has one.
            add_special_tokens: whether the tokenizer puts special tokens around, such as ``<s>``.
            where: the template, for messages.

        Raises:
            ConfigurationError: a special token of the template takes spaces of its neighbours, or
                the template has no words, so that two empty texts would make a prompt of nothing.
        """
        self.tokenizer, self.template, self.order = tokenizer, template, template.texts
        found = [list(items(p, tokenizer, instruction, where=where)) for p in template.parts]
        if add_special_tokens:
            begin, end = tokenizer.template(pair=False).pieces
            found = [[begin], *found, [end]]
        self._items = [item for part in found for item in part]
        fixed: list[list[Int32s]] = [[], [], []]
        around: list[tuple[str, str]] = []
        for item in self._items:
            if not isinstance(item, Run):
                fixed[len(around)].append(item)
            elif not template.joined:
                around.append((item.words[0], item.words[-1]))
            else:
                for words in item.words[:-1]:
                    bare = words.rstrip(" ")
                    fixed[len(around)].append(tokenizer.encode([bare]).token_ids)
                    around.append((words[len(bare) :], ""))
                fixed[len(around)].append(tokenizer.encode([item.words[-1]]).token_ids)
        self._around = around
        self.frame = _template(fixed)
        if not self.frame.specials and not any(map(any, around)):
            raise ConfigurationError(
                f"{where}: has no words beside query and document; the answer is read after some"
            )

    @property
    def query_is_first(self) -> bool:
        """Whether the query is read before the document."""
        return self.order[0] is Place.QUERY

    def encode(self, lists: CandidateLists, limits: PromptLimits) -> Sequences:
        """One sequence per document, or per chunk of it, read out at its last token."""
        texts = self._texts(lists)
        count = lists.documents.num_rows
        every = np.arange(count, dtype=np.int64)
        whole = self._whole(texts, limits.total) if self.template.joined else None
        rest = every if whole is None else np.setdiff1d(every, whole.document)
        prompts, cut = self._apart(texts, rest, limits)
        if whole is not None:
            prompts = _in_order(whole, prompts)
        truncated = np.zeros(count, dtype=np.bool_)
        truncated[rest[cut]] = True
        links: dict[str, Int64s] = {}
        first = every
        if limits.long_documents != "truncate":
            links["first"] = first = first_pieces(prompts.document, count)
            links |= spent(np.diff(prompts.offsets[first]), truncated)
        else:
            links |= spent(np.diff(prompts.offsets), truncated)
        last = (np.diff(prompts.offsets) - 1).astype(np.int32)
        sequences = Sequences.one_readout_each(
            prompts.token_ids, prompts.offsets, positions=last, links=links
        )
        asked = texts.of[Place.QUERY][prompts.document]
        group = groups(asked) if self.query_is_first else np.zeros_like(asked)
        return share_beginnings(sequences, group, common_beginnings(sequences, group))

    def _texts(self, lists: CandidateLists) -> Texts:
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        documents, document_text = distinct(lists.documents.column(schema.TEXT))
        texts = {Place.QUERY: queries, Place.DOCUMENT: documents}
        for place in self.template.stripped & texts.keys():
            texts[place] = [text.strip() for text in texts[place]]
        of = {Place.QUERY: query_text[lists.query_of_document], Place.DOCUMENT: document_text}
        return Texts(texts, of)

    def _whole(self, texts: Texts, total: int) -> Prompts:
        """Prompts of the documents whose prompt fits, words and texts tokenised together."""
        fixed: list[list[Int32s]] = [[]]
        arenas: list[TokenArena] = []
        which: list[Int64s] = []
        for item in self._items:
            if not isinstance(item, Run):
                fixed[-1].append(item)
                continue
            arena, of = self._run(item, texts)
            arenas.append(arena)
            which.append(of)
            fixed.append([])
        template = _template(fixed)
        lengths = [arena.lengths[of] for arena, of in zip(arenas, which, strict=True)]
        fits = np.flatnonzero(sum(lengths) + template.specials <= total)
        rows = zip(arenas, which, lengths, strict=True)
        ids, offsets, _ = template.assemble([(a, of[fits], n[fits]) for a, of, n in rows])
        return Prompts(ids, offsets, fits)

    def _run(self, run: Run, texts: Texts) -> tuple[TokenArena, Int64s]:
        """Tokens of a run: of each distinct text, or of each pair."""
        if len(run.texts) == 1:
            before, after = run.words
            place = run.texts[0]
            together = [f"{before}{text}{after}" for text in texts.texts[place]]
            return self.tokenizer.encode(together), texts.of[place]
        before, between, after = run.words
        first, second = (
            [texts.texts[place][i] for i in texts.of[place].tolist()] for place in run.texts
        )
        pairs = zip(first, second, strict=True)
        together = [f"{before}{one}{between}{other}{after}" for one, other in pairs]
        return self.tokenizer.encode(together), np.arange(len(first), dtype=np.int64)

    def _apart(self, texts: Texts, rows: Int64s, limits: PromptLimits) -> tuple[Prompts, Int64s]:
        """Prompts of some documents, words and texts tokenised apart, and places of those cut."""
        room = limits.total - self.frame.specials
        arenas = {
            place: self._arena(around, texts.texts[place], texts.of[place][rows])
            for place, around in zip(self.order, self._around, strict=True)
        }
        queries, query_of = arenas[Place.QUERY]
        documents, document_of = arenas[Place.DOCUMENT]
        query, whole = queries.lengths[query_of], documents.lengths[document_of]
        if limits.query is not None:
            query = np.minimum(query, limits.query)
        if limits.long_documents == "truncate":
            query = np.minimum(query, room)
            kept = np.minimum(whole, room - query)
            if limits.document is not None:
                kept = np.minimum(kept, limits.document)
            of, parts = np.arange(len(rows), dtype=np.int64), (documents, document_of, kept)
            cut = kept < whole
        else:
            if limits.query is None:
                query = np.minimum(query, np.maximum(room // 2, room - whole))
            query = np.minimum(query, room - 1)
            beside = room - query
            if limits.document is not None:
                beside = np.minimum(beside, limits.document)
            pieces = _pieces(documents, document_of, beside, limits)
            of, arena = pieces.document, pieces.arena
            parts = (arena, np.arange(len(of), dtype=np.int64), arena.lengths)
            cut = (whole > beside) & (limits.long_documents == "head_tail")
        asked = (queries, query_of[of], query[of])
        in_order = [asked, parts] if self.query_is_first else [parts, asked]
        ids, offsets, _ = self.frame.assemble(in_order)
        return Prompts(ids, offsets, rows[of]), np.flatnonzero(cut)

    def _arena(
        self, around: tuple[str, str], texts: list[str], of: Int64s
    ) -> tuple[TokenArena, Int64s]:
        """Tokens of the texts that are asked for, each with the words around it."""
        wanted, which = np.unique(of, return_inverse=True)
        before, after = around
        return self.tokenizer.encode([f"{before}{texts[i]}{after}" for i in wanted.tolist()]), which


def _pieces(arena: TokenArena, texts: Int64s, room: Int64s, limits: PromptLimits) -> Pieces:
    lengths = arena.lengths[texts]
    if limits.long_documents == "head_tail":
        return Pieces.cut(arena, texts, head_tail(lengths, room))
    return Pieces.cut(arena, texts, windows(lengths, room, limits.overlap))


def _template(fixed: Sequence[Sequence[Int32s]]) -> Template:
    none = np.zeros(0, dtype=np.int32)
    pieces = tuple(np.concatenate([none, *ids]).astype(np.int32) for ids in fixed)
    types = tuple(np.zeros(len(piece), dtype=np.int8) for piece in pieces)
    return Template(pieces, types, (0,) * (len(pieces) - 1))


def _in_order(first: Prompts, second: Prompts) -> Prompts:
    """Both, by document; the prompts of one document stay in their order."""
    document = np.concatenate([first.document, second.document])
    order = np.argsort(document, kind="stable")
    lengths = np.concatenate([np.diff(first.offsets), np.diff(second.offsets)])[order]
    behind = second.offsets[:-1] + len(first.token_ids)
    starts = np.concatenate([first.offsets[:-1], behind])[order]
    ids = np.concatenate([first.token_ids, second.token_ids])[ragged_range(starts, lengths)]
    return Prompts(ids, np.append(0, np.cumsum(lengths)).astype(np.int64), document[order])
