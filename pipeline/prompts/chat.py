"""Prompts for chat models: what stands around a user's turn, and untrusted text inside it.

A checkpoint's chat template is a program (Jinja) and is never run. The handful of formats that
open models use are data here; any other is given in the settings.

Everything between the fixed words is tokenised apart from them, as text in which no special or
added token is found, so that a document that contains ``<|im_end|>`` cannot end the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.config import Settings
from pipeline.errors import ConfigurationError
from pipeline.prompts.preference import first_stage_order
from pipeline.tokenization.tokens import TextTokenizer, TokenArena, distinct

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s, Int64s

Chat = Literal["auto", "chatml", "chatml_no_think", "llama3", "gemma", "mistral", "plain", "custom"]

#: What comes before and after the user's turn.
FORMATS: Final[dict[str, tuple[str, str]]] = {
    "chatml": ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
    # Qwen3 answers at once where its thinking has already been opened and closed.
    "chatml_no_think": (
        "<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "llama3": (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "gemma": ("<bos><start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"),
    "mistral": ("<s>[INST] ", " [/INST]"),
    "plain": ("", "\n"),
}

#: Tokens by which a format is known, most telling first, and the token that ends an answer.
_MARKS: Final = (
    ("chatml_no_think", ("<|im_start|>", "<think>"), "<|im_end|>"),
    ("chatml", ("<|im_start|>",), "<|im_end|>"),
    ("llama3", ("<|start_header_id|>",), "<|eot_id|>"),
    ("gemma", ("<start_of_turn>",), "<end_of_turn>"),
    ("mistral", ("[INST]",), "</s>"),
)


class ChatSettings(Settings):
    """Settings of every family that prompts a chat model."""

    chat: Chat = Field(
        "auto",
        description="How a turn is marked; auto: by the tokenizer's marker tokens. The "
        "checkpoint's own template is a program and is not run.",
    )
    chat_before: str = Field("", description="With chat: custom, what comes before the turn.")
    chat_after: str = Field("", description="With chat: custom, what comes after the turn.")
    query_max_length: int = Field(256, ge=1, description="Tokens of a query that are read.")
    document_max_length: int = Field(300, ge=1, description="Tokens of a document that are read.")


@dataclass(frozen=True)
class Texts:
    """Tokens of the distinct texts of a unit, carried from round to round as links.

    Attributes:
        arena: ids of each distinct text, cut to its limit.
        texts: int64 [n], which text each query or document is.
        truncated: int64 [n], 1 where some of it was cut.
    """

    arena: TokenArena
    texts: Int64s
    truncated: Int64s

    def links(self, name: str) -> dict[str, Int64s]:
        """As links called ``name``."""
        return {
            f"{name}_tokens": self.arena.token_ids.astype(np.int64),
            f"{name}_offsets": self.arena.offsets,
            f"{name}_texts": self.texts,
        }

    def __getitem__(self, index: int) -> Int32s:
        text = self.texts[index]
        return self.arena.token_ids[self.arena.offsets[text] : self.arena.offsets[text + 1]]

    def lengths(self) -> Int64s:
        """int64 [n]: tokens kept of each."""
        return self.arena.lengths[self.texts]


def texts_of(links: dict[str, Int64s], name: str) -> Texts:
    """The inverse of :meth:`Texts.links`; what was cut is not carried."""
    arena = TokenArena(links[f"{name}_tokens"].astype(np.int32), links[f"{name}_offsets"])
    texts = links[f"{name}_texts"]
    return Texts(arena, texts, np.zeros(len(texts), dtype=np.int64))


class PromptTokenizer:
    """The tokenizer of a chat model, for fixed words and for what others wrote."""

    def __init__(self, checkpoint: Checkpoint, settings: ChatSettings) -> None:
        self.texts = TextTokenizer(checkpoint, special_tokens="text")
        self.before, self.after = _format(self.texts, settings)
        self.stop_tokens = _stop_tokens(self.texts, checkpoint)
        self._known: dict[str, Int32s] = {}

    def fixed(self, text: str) -> Int32s:
        """int32 ids of fixed words, special tokens included; the same words are asked for often."""
        if text not in self._known:
            self._known[text] = self.texts.words([text]).token_ids
        return self._known[text]

    def untrusted(self, texts: list[str], which: Int64s, limit: int) -> Texts:
        """Ids of distinct texts on one line each, no special tokens among them, cut to ``limit``.

        Each starts with the space that separates it from the words before, as byte-level
        tokenizers join a space to the word after it.

        Args:
            texts: the distinct texts.
            which: int64 [n], which of them each query or document is.
            limit: tokens kept of each.
        """
        arena = self.texts.encode([" " + " ".join(text.split()) for text in texts])
        kept = np.minimum(arena.lengths, limit)
        offsets = np.append(0, np.cumsum(kept)).astype(np.int64)
        inside = np.arange(len(arena.token_ids)) - np.repeat(arena.offsets[:-1], arena.lengths)
        ids = arena.token_ids[inside < np.repeat(kept, arena.lengths)]
        cut = (kept < arena.lengths).astype(np.int64)
        return Texts(TokenArena(ids, offsets), which, cut[which])

    def decode(self, ids: list[int]) -> str:
        """The text of generated ids, without special tokens."""
        return str(self.texts.library.decode(ids, skip_special_tokens=True))


def before_first_round(
    lists: CandidateLists,
    tokenizer: PromptTokenizer,
    settings: ChatSettings,
    *,
    clean: Callable[[str], str] = str,
) -> dict[str, Int64s]:
    """What families that ask in rounds carry from one to the next, as links.

    Args:
        lists: of the unit.
        tokenizer: of the model.
        settings: of the family.
        clean: what is read of a document's text.

    Returns:
        The texts of queries and documents (see :func:`texts_of`), ``order`` [N], documents in
        first-stage order, ``step`` [1], -1, and the token counts of all families.
    """
    queries, query_text = distinct(lists.queries.column(schema.QUERY))
    documents, document_text = distinct(lists.documents.column(schema.TEXT))
    cleaned = [clean(text) for text in documents]
    asked = tokenizer.untrusted(queries, query_text, settings.query_max_length)
    read = tokenizer.untrusted(cleaned, document_text, settings.document_max_length)
    ranks = lists.documents.column(schema.FIRST_STAGE_RANK).to_numpy().astype(np.int64)
    return {
        **asked.links("query"),
        **read.links("document"),
        "order": first_stage_order(ranks, lists.offsets),
        "step": np.array([-1]),
        schema.N_TOKENS: np.zeros(lists.documents.num_rows, dtype=np.int64),
        schema.TRUNCATED: read.truncated,
    }


def _format(tokenizer: TextTokenizer, settings: ChatSettings) -> tuple[str, str]:
    if settings.chat == "custom":
        return settings.chat_before, settings.chat_after
    if settings.chat_before or settings.chat_after:
        raise ConfigurationError(
            "model.settings.chat_before and chat_after are used with chat: custom only"
        )
    if settings.chat != "auto":
        return FORMATS[settings.chat]
    for name, tokens, _ in _MARKS:
        if all(tokenizer.library.token_to_id(token) is not None for token in tokens):
            return FORMATS[name]
    raise ConfigurationError(
        "model.settings.chat: the tokenizer has none of the marker tokens of "
        f"{', '.join(sorted(FORMATS))}; set chat to plain, or to custom with chat_before and "
        "chat_after"
    )


def _stop_tokens(tokenizer: TextTokenizer, checkpoint: Checkpoint) -> tuple[int, ...]:
    """What ends an answer: as the checkpoint's files say, and the known ends of a turn."""
    stop: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        ends = checkpoint.table(name).get("eos_token_id")
        stop.update(ends if isinstance(ends, list) else [] if ends is None else [ends])
    ends_of_turn = (tokenizer.library.token_to_id(end) for *_, end in _MARKS)
    stop.update(end for end in ends_of_turn if end is not None)
    return tuple(sorted(stop))


def check_positions(checkpoint: Checkpoint, longest: int) -> None:
    """Refuse settings whose longest prompt the model has no positions for.

    Raises:
        ConfigurationError: names what to lower.
    """
    positions = checkpoint.config.get("max_position_embeddings")
    if isinstance(positions, int) and longest > positions:
        raise ConfigurationError(
            f"model.settings: the longest prompt would have {longest} tokens with its answer, the "
            f"model has {positions} positions; lower document_max_length, query_max_length or, in "
            "listwise_generation, window"
        )
