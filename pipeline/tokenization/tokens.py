"""Texts to token ids: each distinct text once, pairs assembled in numpy.

The published ``tokenizer.json`` is the authority (transformers' own DeBERTa-v2 class ignores its
normaliser and yields other ids), so it is read with the ``tokenizers`` library itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigurationError, ModelError
from pipeline.sequences.ragged import ragged_range
from pipeline.tokenization.chunk_cache import library_ids
from pipeline.tokenization.chunk_check import chunk_cache
from pipeline.tokenization.marked_texts import MarkedTexts
from pipeline.tokenization.plain_texts import plain_text_tokenizer
from pipeline.tokenization.tokenizer_rules import (
    gives_token_types,
    lowercased,
    refuse_contradiction,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s, Int64s
    from pipeline.tokenization.plain_texts import SpecialTokens

Truncation = Literal["longest_first", "document"]


@dataclass(frozen=True)
class TokenArena:
    """Token ids of ``n`` texts: int32 [T] flat, int64 [n + 1] offsets."""

    token_ids: Int32s
    offsets: Int64s

    @property
    def lengths(self) -> Int64s:
        """int64 [n]."""
        return np.diff(self.offsets)


def distinct_array(texts: pa.Array | pa.ChunkedArray) -> tuple[pa.StringArray, Int64s]:
    """The distinct texts, and for each of the [N] texts which of them it is; null counts as ""."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    encoded = pc.dictionary_encode(pc.fill_null(texts.cast(pa.string()), ""))
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def distinct(texts: pa.Array | pa.ChunkedArray) -> tuple[list[str], Int64s]:
    """As :func:`distinct_array`, for callers that put words around the texts."""
    array, which = distinct_array(texts)
    return array.to_pylist(), which


class TextTokenizer:
    """A ``tokenizer.json`` that never truncates, pads or adds special tokens by itself.

    Attributes:
        library: the tokenizer as published.
        special_tokens: what becomes of special tokens in the texts that :meth:`encode` is given.
        truncation: how texts would be cut by tokenizer.json; None where it does not say.
        gives_types: whether token types go to the network; without them all are 0.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        special_tokens: SpecialTokens = "upstream",
        lowercase: bool = False,
    ) -> None:
        """Read a checkpoint's tokenizer.

        Args:
            checkpoint: whose ``tokenizer.json`` is read.
            special_tokens: ``upstream``: as the library finds them; ``text``: plain text, added
                tokens that are not special as well.
            lowercase: whether texts lose their capitals before anything else, as
                sentence-transformers adds it to a tokenizer that does not do so by itself.

        Raises:
            ModelError: the file is missing or no tokenizer, tokenizer_config.json contradicts it,
                or special tokens are to be text and cannot be.
        """
        from tokenizers import Tokenizer

        path = checkpoint.folder / "tokenizer.json"
        data = checkpoint.require_bytes("tokenizer.json")
        try:
            self.library: Tokenizer = Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare Exception for any defect
            raise ModelError(f"{path}: not readable as a tokenizer: {error}") from None
        refuse_contradiction(checkpoint, self.library, splits=special_tokens == "text")
        if lowercase and not self.lowercases:
            data = lowercased(data)
            self.library = Tokenizer.from_buffer(data)
        self.truncation = self.library.truncation
        self.library.no_truncation()
        self.library.no_padding()
        self.special_tokens = special_tokens
        self.gives_types = gives_token_types(checkpoint)
        self._of_texts = self.library
        if special_tokens == "text":
            self._of_texts = plain_text_tokenizer(data, where=path)
        self.chunks = chunk_cache(self._of_texts, name=str(path))

    @cached_property
    def marked_texts(self) -> MarkedTexts | None:
        """Finds texts in which special tokens act as such; None where every text is text."""
        return None if self.special_tokens == "text" else MarkedTexts(self.library)

    @property
    def lowercases(self) -> bool:
        """Whether texts lose their capitals before they are tokenised."""
        normalizer = self.library.normalizer
        return normalizer is not None and normalizer.normalize_str("A") == "a"

    def encode(self, texts: list[str] | pa.StringArray) -> TokenArena:
        """Ids of each text alone, whole; no text may be null.

        Nothing is put around a text; special tokens inside it are what :attr:`special_tokens` says.
        """
        if self.chunks is None:
            whole = texts if isinstance(texts, list) else texts.to_pylist()
            return TokenArena(*library_ids(self._of_texts, whole))
        array = pa.array(texts, pa.string()) if isinstance(texts, list) else texts
        return TokenArena(*self.chunks.encode(array))

    def words(self, words: list[str]) -> TokenArena:
        """Ids of a prompt's own words, in which special tokens are special tokens."""
        return TokenArena(*library_ids(self.library, words))

    def template(self, *, pair: bool) -> Template:
        """Where the tokenizer's post-processor puts special tokens, learned from the tokenizer."""
        first, second = "a", "b"
        encoding = self.library.encode(first, second) if pair else self.library.encode(first)
        ids = np.array(encoding.ids, dtype=np.int32)
        types = np.array(encoding.type_ids, dtype=np.int8) * self.gives_types
        sides = np.array([-1 if s is None else s for s in encoding.sequence_ids])
        return Template.split(ids, types, sides, parts=2 if pair else 1)


@dataclass(frozen=True)
class Template:
    """Special tokens around the parts of a sequence.

    Attributes:
        pieces: special ids before, between and after the parts; one more than there are parts.
        piece_types: their token types.
        part_types: token type of each part.
    """

    pieces: tuple[Int32s, ...]
    piece_types: tuple[npt.NDArray[np.int8], ...]
    part_types: tuple[int, ...]

    @property
    def specials(self) -> int:
        """Special tokens of one sequence."""
        return sum(len(piece) for piece in self.pieces)

    @classmethod
    def split(
        cls, ids: Int32s, types: npt.NDArray[np.int8], sides: npt.NDArray[np.int64], *, parts: int
    ) -> Template:
        """Cut an encoded example at its parts; ``sides`` is -1 at special tokens."""
        pieces, piece_types, part_types = [], [], []
        position = 0
        for part in range(parts):
            where = np.flatnonzero(sides == part)
            if len(where) == 0:
                raise ModelError("the tokenizer yields no token for the letters 'a' and 'b'")
            pieces.append(ids[position : where[0]])
            piece_types.append(types[position : where[0]])
            part_types.append(int(types[where[0]]))
            position = int(where[-1]) + 1
        pieces.append(ids[position:])
        piece_types.append(types[position:])
        return cls(tuple(pieces), tuple(piece_types), tuple(part_types))

    def assemble(
        self, parts: list[tuple[TokenArena, Int64s, Int64s]]
    ) -> tuple[Int32s, Int64s, npt.NDArray[np.int8]]:
        """Sequences of special tokens and parts.

        Args:
            parts: per part the arena, which of its texts each of the [S] sequences takes, and how
                many leading tokens of it are kept.

        Returns:
            token ids [T], offsets [S + 1], token types [T].
        """
        count, columns = len(parts[0][1]), 2 * len(parts) + 1
        sources = [*self.pieces, *(arena.token_ids for arena, _, _ in parts)]
        begins = np.append(0, np.cumsum([len(source) for source in sources]))
        starts = np.empty((count, columns), dtype=np.int64)
        counts = np.empty((count, columns), dtype=np.int64)
        starts[:, 0::2] = begins[: len(self.pieces)]
        counts[:, 0::2] = [len(piece) for piece in self.pieces]
        for index, (arena, chosen, kept) in enumerate(parts):
            starts[:, 2 * index + 1] = arena.offsets[chosen] + begins[len(self.pieces) + index]
            counts[:, 2 * index + 1] = kept
        tokens = ragged_range(starts.ravel(), counts.ravel())
        ids = np.concatenate(sources)[tokens]
        types = self._types([len(source) for source in sources])[tokens]
        offsets = np.append(0, np.cumsum(counts.sum(axis=1)))
        return ids, offsets, types

    def _types(self, lengths: list[int]) -> npt.NDArray[np.int8]:
        """Token types of all pieces and, behind them, of all parts, given the length of each."""
        parts = np.repeat(np.array(self.part_types, dtype=np.int8), lengths[len(self.pieces) :])
        return np.concatenate([*self.piece_types, parts])


def truncate_pairs(
    first: Int64s, second: Int64s, *, room: int, strategy: Truncation
) -> tuple[Int64s, Int64s]:
    """How many tokens of each side of a pair are kept.

    Args:
        first: int64 [S], tokens of the query.
        second: int64 [S], tokens of the document.
        room: tokens left for both after special tokens.
        strategy: ``longest_first`` is what upstream's tokenizers do and may cut the query;
            ``document`` cuts the document only, and the query where it alone exceeds ``room``.

    ``longest_first`` follows ``truncate_encodings`` in the tokenizers library
    (src/utils/truncation.rs): with n1 <= n2 and n1 + n2 > room, n2 becomes max(n1, room - n1), and
    where that is still too much, n1 = room // 2 and n2 = n1 + room % 2.
    """
    if strategy == "document":
        kept = np.minimum(first, room)
        return kept, np.minimum(second, room - kept)
    short, long = np.minimum(first, second), np.maximum(first, second)
    cut = np.where(short > room, short, np.maximum(short, room - short))
    over = short + cut > room
    new_short = np.where(over, room // 2, short)
    new_long = np.where(over, room // 2 + room % 2, cut)
    fits = short + long <= room
    new_short, new_long = np.where(fits, short, new_short), np.where(fits, long, new_long)
    swapped = first > second
    return np.where(swapped, new_long, new_short), np.where(swapped, new_short, new_long)


def resolve_max_length(
    asked: int | None, *, tokenizer: object, positions: object, reserved: int = 0
) -> int:
    """The sequence limit: as asked, else the smaller of what tokenizer and positions allow.

    Args:
        asked: ``model.settings.max_length``.
        tokenizer: ``model_max_length`` of tokenizer_config.json, where it is a real number.
        positions: ``max_position_embeddings`` of config.json.
        reserved: positions that no token can use (XLM-R counts from padding_idx + 1 = 2).

    Raises:
        ConfigurationError: more is asked than the model has positions for.
    """
    limits = [
        int(value)
        for value in (tokenizer, positions - reserved if isinstance(positions, int) else None)
        if type(value) is int and 0 < value < 10**9
    ]
    if asked is None:
        return min(limits, default=512)
    if isinstance(positions, int) and asked > positions - reserved:
        raise ConfigurationError(
            f"model.settings.max_length: {asked} is more than the model's "
            f"{positions - reserved} positions"
        )
    return asked
