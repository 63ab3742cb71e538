"""Which texts hold special tokens that act as such, for a run to say how many there were.

Counted are texts of which tokenisation makes a control token (see
:mod:`pipeline.tokenization.plain_texts`). All texts are looked through for the tokens' own names,
which is one pass of a regular expression; only those that hold one are tokenised once more.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.tokenization.chunk_cache import library_ids
from pipeline.tokenization.plain_texts import is_control, unknown_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Where characters lie that Unicode's NFKC makes ASCII of (its planes 0 and 1, beyond Latin-1).
_WITH_FORMS: Final = (*range(0x100, 0xD800), *range(0xE000, 0x20000))

#: A character that no vocabulary has (the last one for private use): its id is that of all such.
_UNKNOWN: Final = "\U0010fffd"


class MarkedTexts:
    """Finds texts in which a tokenizer finds its control tokens."""

    def __init__(self, library: Tokenizer) -> None:
        self._library = library

    def find(self, texts: pa.StringArray) -> npt.NDArray[np.bool_]:
        """bool [n]: which of some texts hold a control token; a null holds none."""
        marked = np.zeros(len(texts), dtype=bool)
        if self._pattern is None:
            return marked
        named = pc.fill_null(pc.match_substring_regex(texts, self._pattern), False)
        places = np.flatnonzero(named.to_numpy(zero_copy_only=False))
        ids, offsets = library_ids(self._library, texts.take(pa.array(places)).to_pylist())
        control = np.append(0, np.cumsum(np.isin(ids, self._ids)))
        marked[places] = np.diff(control[offsets]) > 0
        return marked

    @cached_property
    def _ids(self) -> list[int]:
        """Of the control tokens; the unknown token also stands for characters that are none."""
        found = {number for number, _ in self._control}
        unknown = self._library.encode(_UNKNOWN, add_special_tokens=False).ids
        return sorted(found - {unknown_id(self._library), *unknown})

    @cached_property
    def _pattern(self) -> str | None:
        """A regular expression for texts that may hold one; None where there are no such tokens."""
        forms = self._forms()
        names = {
            "".join(f"[{re.escape(c + forms[c])}]" if forms.get(c) else re.escape(c) for c in name)
            for _, name in self._control
        }
        return "|".join(sorted(names)) or None

    def _forms(self) -> dict[str, str]:
        """For ASCII characters the others that the normaliser makes of them, such as wide ones."""
        normalizer, found = self._library.normalizer, dict[str, str]()
        if normalizer is None:
            return found
        for code in _WITH_FORMS:
            plain = unicodedata.normalize("NFKC", chr(code))
            if len(plain) == 1 and plain.isascii() and plain in normalizer.normalize_str(chr(code)):
                found[plain] = found.get(plain, "") + chr(code)
        return found

    @cached_property
    def _control(self) -> list[tuple[int, str]]:
        """Id and text of each control token."""
        added = self._library.get_added_tokens_decoder()
        return [
            (number, token.content)
            for number, token in added.items()
            if is_control(token.content, special=token.special)
        ]
