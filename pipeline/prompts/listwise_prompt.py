"""The prompt of jina-reranker-v3, piece by piece: every text is tokenised once, places are counted.

Upstream builds one string per window, tokenises it and searches the ids for its two readout tokens.
Here the same ids are put together from pieces that meet where the tokenizer cuts anyway: at the
readout tokens, and around the ``">`` and newline that open a passage. So a document's ids serve
its length, its truncation and every prompt it is in, and a readout stands where it was put.

Source: ``modeling.py`` of jinaai/jina-reranker-v3 (format_docs_prompts_func, sanitize_input).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.prompts.listwise_windows import Windows
    from pipeline.sequences.arrays import Int32s, Int64s
    from pipeline.tokenization.tokens import TextTokenizer, TokenArena

#: The hidden state at these tokens is what is read out, of each document and of the query.
DOCUMENT_READOUT: Final = "<|embed_token|>"
QUERY_READOUT: Final = "<|rerank_token|>"

HEAD: Final = (
    "<|im_start|>system\nYou are a search relevance expert who can determine a ranking of the "
    "passages based on how relevant they are to the query. If the query is a question, how "
    "relevant a passage is depends on how well it answers the question. If not, try to analyze "
    "the intent of the query and assess how well each passage satisfies the intent. If an "
    "instruction is provided, you should follow the instruction when determining the ranking."
    "<|im_end|>\n<|im_start|>user\n"
)

#: Between a passage's number and its text. A text that begins with a newline merges with it.
PASSAGE_START: Final = '">\n'
_MERGING: Final = ("\r", "\n")


def sanitise(text: str) -> str:
    """Remove every readout token from a text, and nothing else.

    Upstream removes each of the two once and fails where that leaves another, as in
    ``<|rerank_<|embed_token|>token|>``; here removal goes on until none is left.
    """
    while QUERY_READOUT in text or DOCUMENT_READOUT in text:
        text = text.replace(QUERY_READOUT, "").replace(DOCUMENT_READOUT, "")
    return text


def opening(query: str, count: int, instruction: str | None) -> str:
    """A window's prompt up to the first passage's number; ``count`` is the window's documents."""
    instruct = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
    return (
        f"{HEAD}I will provide you with {count} passages, each indicated by a numerical "
        "identifier. Rank the passages based on their relevance to query: "
        f'{query}\n{instruct}<passage id="0'
    )


def separator(number: int) -> str:
    """From the readout of one passage to the number of the next, which counts from 0."""
    return f'{DOCUMENT_READOUT}\n</passage>\n<passage id="{number}'


def closing(query: str) -> str:
    """From the readout of the last passage to that of the query.

    Upstream's prompt goes on. Attention is causal, so nothing after the last readout matters.
    """
    return f"{DOCUMENT_READOUT}\n</passage>\n<query>\n{query}{QUERY_READOUT}"


@dataclass(frozen=True)
class CutTexts:
    """Distinct texts, ready for the prompt.

    Attributes:
        texts: [n], cut and sanitised.
        token_ids: [n] int32 arrays, or None where the ids of the text as it was given are not
            those of the text as it goes into the prompt.
        lengths: int64 [n], tokens after the cut and before sanitising: what windows are planned by.
        truncated: bool [n], whether tokens were cut off.
    """

    texts: list[str]
    token_ids: list[Int32s | None]
    lengths: Int64s
    truncated: npt.NDArray[np.bool_]


def cut_texts(tokenizer: TextTokenizer, texts: list[str], limit: int) -> CutTexts:
    """Cut texts on the right to ``limit`` tokens, then sanitise them, as upstream does.

    A text of ``limit`` tokens or more, and so also one that is not cut at all, becomes what its
    kept ids decode to, special tokens included: a cut inside a character gives U+FFFD.
    """
    # Where special tokens in texts are text, there is no readout token to take out.
    clean = sanitise if tokenizer.special_tokens == "upstream" else str
    arena = tokenizer.encode(texts)
    whole = arena.lengths
    ready: list[str] = []
    kept: list[Int32s | None] = []
    for i, text in enumerate(texts):
        ids = arena.token_ids[arena.offsets[i] : arena.offsets[i + 1]]
        if len(ids) >= limit:
            decoded = tokenizer.library.decode(ids[:limit].tolist(), skip_special_tokens=False)
            ready.append(clean(decoded))
            kept.append(None)
        else:
            ready.append(clean(text))
            kept.append(ids if ready[-1] == text else None)
    return CutTexts(
        texts=ready,
        token_ids=kept,
        lengths=np.minimum(whole, limit),
        truncated=whole > limit,
    )


class ListwisePrompt:
    """Windows of texts to token ids with readout positions."""

    def __init__(self, tokenizer: TextTokenizer, *, most: int, instruction: str | None) -> None:
        """``most`` is the largest number of documents in a window.

        Raises:
            ModelError: the tokenizer is not that of the model.
        """
        self.tokenizer = tokenizer
        self.instruction = sanitise(instruction) if instruction else None
        check_tokenizer(tokenizer)
        fixed = [HEAD, PASSAGE_START, DOCUMENT_READOUT, QUERY_READOUT]
        words = tokenizer.words([*fixed, *(separator(number) for number in range(most))])
        self.head, self.passage_start, self.of_document, self.of_query, *self.separators = _split(
            words
        )

    def assemble(
        self,
        windows: Windows,
        *,
        queries: CutTexts,
        query_of_window: Int64s,
        documents: CutTexts,
        text_of_document: Int64s,
    ) -> tuple[Int32s, Int64s, Int32s]:
        """The windows' prompts.

        Args:
            windows: which documents are in each of the [W] windows.
            queries: distinct query texts.
            query_of_window: int64 [W], which of them each window is for.
            documents: distinct document texts.
            text_of_document: int64 [N], which of them each document is.

        Returns:
            int32 [T] ids, int64 [W + 1] offsets, and int32 [N + W] readout positions inside each
            window's own prompt: those of its documents in order, then that of its query.
        """
        counts = np.diff(windows.offsets)
        asked = list(zip(query_of_window.tolist(), counts.tolist(), strict=True))
        openings = self._openings(queries, asked)
        closings = self._closings(queries, {q for q, _ in asked})
        passages = self._passages(documents)
        pieces: list[Int32s] = []
        positions: list[Int64s] = []
        offsets = np.zeros(len(counts) + 1, dtype=np.int64)
        for window, (query, count) in enumerate(asked):
            first = windows.offsets[window]
            prompt = [openings[query, count]]
            for following, text in enumerate(text_of_document[first : first + count].tolist(), 1):
                after = closings[query] if following == count else self.separators[following]
                prompt += [passages[text], after]
            ends = np.cumsum([len(piece) for piece in prompt])
            # A passage is followed by its readout, so it ends where the readout stands.
            positions += [ends[1::2], ends[-1:] - 1]
            pieces += prompt
            offsets[window + 1] = offsets[window] + ends[-1]
        if not pieces:
            return np.zeros(0, np.int32), offsets, np.zeros(0, np.int32)
        return np.concatenate(pieces), offsets, np.concatenate(positions).astype(np.int32)

    def _passages(self, documents: CutTexts) -> list[Int32s]:
        """int32 ids of each text with what opens its passage, re-tokenised only where needed."""
        again = [
            i
            for i, (text, ids) in enumerate(zip(documents.texts, documents.token_ids, strict=True))
            if ids is None or text.startswith(_MERGING)
        ]
        anew = dict(
            zip(again, self._ids([PASSAGE_START + documents.texts[i] for i in again]), strict=True)
        )
        return [
            anew[i] if ids is None or i in anew else np.concatenate([self.passage_start, ids])
            for i, ids in enumerate(documents.token_ids)
        ]

    def _openings(
        self, queries: CutTexts, asked: list[tuple[int, int]]
    ) -> dict[tuple[int, int], Int32s]:
        """int32 ids by query and count; the head's own tokens are apart from the query's text."""
        texts = {(q, n): opening(queries.texts[q], n, self.instruction) for q, n in asked}
        ids = self._ids([text.removeprefix(HEAD) for text in texts.values()])
        return {key: np.concatenate([self.head, own]) for key, own in zip(texts, ids, strict=True)}

    def _closings(self, queries: CutTexts, asked: set[int]) -> dict[int, Int32s]:
        """int32 ids by query; readout tokens are put there, never read from a text."""
        texts = {q: closing(queries.texts[q]) for q in asked}
        inner = [
            t.removeprefix(DOCUMENT_READOUT).removesuffix(QUERY_READOUT) for t in texts.values()
        ]
        ids = self._ids(inner)
        return {
            q: np.concatenate([self.of_document, own, self.of_query])
            for q, own in zip(texts, ids, strict=True)
        }

    def _ids(self, texts: list[str]) -> list[Int32s]:
        return _split(self.tokenizer.encode(texts))


def _split(arena: TokenArena) -> list[Int32s]:
    return [arena.token_ids[a:b] for a, b in pairwise(arena.offsets.tolist())]


def check_tokenizer(tokenizer: TextTokenizer) -> None:
    """Prove that pieces may be tokenised apart: the tokenizer cuts where this module does.

    Raises:
        ModelError: a readout token is missing, or the pre-tokeniser is not Qwen's.
    """
    for token in (DOCUMENT_READOUT, QUERY_READOUT):
        if tokenizer.library.token_to_id(token) is None:
            raise ModelError(
                f"tokenizer.json: no token '{token}'; scores are read out at it, so this is not a "
                "checkpoint of the jina_v3 family"
            )
    for first in _FIRST_CHARACTERS:
        cuts = _cuts(tokenizer, f"0{PASSAGE_START}{first}a")
        if not {1, 1 + len(PASSAGE_START)} <= cuts:
            raise ModelError(
                "tokenizer.json: its pre-tokeniser does not cut before and after what opens a "
                f"passage (seen with {first!r}), so it is not Qwen's and its ids would not be "
                "those that the model knows; use the published file"
            )


#: One of each kind that a split pattern may treat apart: ASCII, spaces, letters, marks, symbols.
_FIRST_CHARACTERS: Final[Sequence[str]] = [
    *(chr(code) for code in range(32, 127)),
    *"\t\v\x85\u00a0\u2028\u3000\u0301\u0338\u00e9\u7eff\u0661\u2460\u20ac\u200b\U0001f469",
]


def _cuts(tokenizer: TextTokenizer, text: str) -> set[int]:
    """Characters of a text at which its pre-tokens begin."""
    splitter = tokenizer.library.pre_tokenizer
    return {start for _, (start, _) in splitter.pre_tokenize_str(text)} if splitter else set()
