"""Tokenising each word once: texts are cut where their tokenizer provably cuts.

Natural text repeats its words. The texts of a unit lie in one Arrow buffer: numpy finds the cuts,
Arrow names the distinct chunks, the library tokenises those that were never seen, and their ids are
gathered. No Python loop runs over texts or tokens, only over chunks that are new.
"""

from __future__ import annotations

import threading
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.sequences.ragged import ragged_range
from pipeline.tokenization.cut_rules import CutRules

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.sequences.arrays import Int32s, Int64s

Bools = npt.NDArray[np.bool_]

#: Chunks that are remembered, some 45 MB; a call that ends with more forgets them all.
MOST_CHUNKS: Final = 2**18
#: Longer chunks (addresses, sentences without spaces) hardly come twice and are not remembered.
_LONGEST: Final = 64
#: New chunks that the library is given as one text.
_TOGETHER: Final = 32


class ChunkCache:
    """Ids of the chunks seen so far, of one tokenizer; may be used from several threads."""

    def __init__(self, library: Tokenizer, rules: CutRules, *, most: int = MOST_CHUNKS) -> None:
        self.library = library
        self.rules = rules
        self.most = most
        self._separator = separator(library)
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._rows = _Rows()

    def __len__(self) -> int:
        return len(self._places)

    def encode(self, texts: pa.StringArray) -> tuple[Int32s, Int64s]:
        """What :func:`library_ids` gives: flat ids int32 [T] and offsets int64 [n + 1]."""
        chunks, bounds = cut(texts, self.rules)
        named = chunks.dictionary_encode()
        ids, counts, unsound = self._known(named.dictionary.to_pylist())
        which = named.indices.to_numpy()
        lengths = counts[which]
        tokens = np.append(0, np.cumsum(lengths))
        flat = ids[ragged_range((np.cumsum(counts) - counts)[which], lengths)]
        if not unsound.any():
            return flat, tokens[bounds]
        return self._with_whole_texts(texts, flat, tokens[bounds], bounds, unsound[which])

    def _with_whole_texts(
        self, texts: pa.StringArray, flat: Int32s, offsets: Int64s, bounds: Int64s, unsound: Bools
    ) -> tuple[Int32s, Int64s]:
        """Texts that hold an unsound chunk are tokenised whole, in place of their chunks."""
        bad = np.unique(np.searchsorted(bounds, np.flatnonzero(unsound), side="right") - 1)
        whole, whole_offsets = library_ids(self.library, texts.take(pa.array(bad)).to_pylist())
        starts, lengths = offsets[:-1].copy(), np.diff(offsets)
        starts[bad], lengths[bad] = whole_offsets[:-1] + len(flat), np.diff(whole_offsets)
        both = np.concatenate([flat, whole])
        return both[ragged_range(starts, lengths)], np.append(0, np.cumsum(lengths))

    def _known(self, chunks: list[str]) -> tuple[Int32s, Int64s, Bools]:
        """Of distinct chunks [d]: ids, flat; how many each has [d]; and which are unsound [d]."""
        with self._lock:
            places = np.fromiter(
                map(self._places.get, chunks, repeat(-1)), dtype=np.int64, count=len(chunks)
            )
            missing = np.flatnonzero(places < 0).tolist()
            brief = [i for i in missing if len(chunks[i]) <= _LONGEST]
            rest = [i for i in missing if len(chunks[i]) > _LONGEST]
            places[brief + rest] = self._add([chunks[i] for i in brief + rest])
            found = self._rows.of(places)
            self._rows.keep(self._rows.count - len(rest))
            self._places.update(
                zip([chunks[i] for i in brief], places[brief].tolist(), strict=True)
            )
            if len(self._places) > self.most:
                self._places, self._rows = {}, _Rows()
        return found

    def _add(self, new: list[str]) -> Int64s:
        """Tokenise chunks and append them; returns their places."""
        unsound = np.array(self.rules.unsound(new), dtype=bool)
        sound = np.flatnonzero(~unsound)
        counts = np.full(len(new), -1, dtype=np.int64)
        ids, counts[sound] = self._tokenise([new[i] for i in sound])
        return self._rows.append(ids, counts)

    def _tokenise(self, chunks: list[str]) -> tuple[Int32s, Int64s]:
        """Ids of chunks, flat, and how many each has.

        The library cuts at added tokens before anything else and treats what lies between as texts
        of their own, so many chunks travel as one text with one of those tokens behind each. Where
        that token does not come back as often as it was put in, they are tokenised one by one.
        """
        if self._separator is not None:
            content, number = self._separator
            groups = [chunks[i : i + _TOGETHER] for i in range(0, len(chunks), _TOGETHER)]
            texts = ["".join([f"{chunk}{content}" for chunk in group]) for group in groups]
            ids, offsets = library_ids(self.library, texts)
            marks = np.flatnonzero(ids == number)
            found = np.diff(np.searchsorted(marks, offsets))
            if found.tolist() == [len(group) for group in groups]:
                return ids[ids != number], np.diff(marks, prepend=-1) - 1
        ids, offsets = library_ids(self.library, chunks)
        return ids, np.diff(offsets)


class _Rows:
    """Ids of numbered chunks in growing buffers; an unsound chunk has a count of -1."""

    def __init__(self) -> None:
        self.count = 0
        self._ids = np.zeros(0, dtype=np.int32)
        self._ends = np.zeros(1, dtype=np.int64)
        self._counts = np.zeros(0, dtype=np.int64)

    def append(self, ids: Int32s, counts: Int64s) -> Int64s:
        first, last = self.count, self.count + len(counts)
        used = int(self._ends[first])
        self._ids = _room(self._ids, used + len(ids))
        self._ends, self._counts = _room(self._ends, last + 1), _room(self._counts, last)
        self._ids[used : used + len(ids)] = ids
        self._counts[first:last] = counts
        self._ends[first + 1 : last + 1] = used + np.cumsum(np.maximum(counts, 0))
        self.count = last
        return np.arange(first, last, dtype=np.int64)

    def keep(self, count: int) -> None:
        """Forget all but the first ``count``; the next ones take their room."""
        self.count = count

    def of(self, places: Int64s) -> tuple[Int32s, Int64s, Bools]:
        stored = self._counts[places]
        counts = np.maximum(stored, 0)
        return self._ids[ragged_range(self._ends[places], counts)], counts, stored < 0


def _room(buffer: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """The buffer, or a copy of at least twice its length where it is too short."""
    if size <= len(buffer):
        return buffer
    longer = np.zeros(max(size, 2 * len(buffer)), dtype=buffer.dtype)
    longer[: len(buffer)] = buffer
    return longer


def library_ids(library: Tokenizer, texts: list[str]) -> tuple[Int32s, Int64s]:
    """Ids of each text alone, whole, without special tokens: flat [T] and offsets [n + 1]."""
    encodings = library.encode_batch_fast(texts, add_special_tokens=False)
    pieces = [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32), offsets


def separator(library: Tokenizer) -> tuple[str, int] | None:
    """An added token that is matched in the text as it stands, and takes nothing beside it."""
    for number, token in library.get_added_tokens_decoder().items():
        raw = not token.normalized or library.normalizer is None
        if (
            raw
            and not token.content.isspace()
            and not (token.lstrip or token.rstrip or token.single_word)
        ):
            return token.content, number
    return None


def cut(texts: pa.StringArray, rules: CutRules) -> tuple[pa.StringArray, Int64s]:
    """The chunks of texts, as views of their buffer, and where each text's begin: int64 [n + 1].

    Chunks cover their texts; every cut lies beside an ASCII byte, so none splits a character.
    """
    buffers = texts.buffers()
    limits = np.frombuffer(buffers[1], dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = bytes(memoryview(buffers[2] or b"")[limits[0] : limits[-1]])
    before, behind = (np.frombuffer(data.translate(t), dtype=np.uint8) for t in rules.tables)
    opens = np.zeros(len(data), dtype=bool)
    np.not_equal(before[:-1] & behind[1:], 0, out=opens[1:])
    edges = limits - limits[0]
    opens[edges[:-1][edges[:-1] < len(data)]] = True
    starts = np.flatnonzero(opens)
    offsets = np.append(starts, len(data)).astype(np.int32)
    chunks = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), pa.py_buffer(data))
    return chunks, np.searchsorted(starts, edges)
