"""The last word on chunks has the tokenizer itself: a fixed sample of awkward texts, both ways."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.tokenization.chunk_cache import ChunkCache, library_ids
from pipeline.tokenization.cut_rules import cut_rules

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger("pipeline")

#: What goes wrong first where a tokenizer is not what it seems: runs of whitespace of every kind,
#: marks, joiners and controls beside spaces, what composes or decomposes, contractions, line
#: breaks behind punctuation, several scripts, numbers.
AWKWARD: Final = (
    "The quick brown fox. It's the cat's 2nd 1,234.56 (e.g. here)!",
    "  two  spaces\tand\ttabs \n\n a break.\nNext\r\nline...\n\n\nend  ",
    " leading", "trailing ", " ", "\n", "x", "I'LL we've THEY'RE 'tis ''quoted''",
    "caf\u00e9 cafe\u0301 \u0301alone e \u0301 \u212b \u2126 \ufb01ne \uff46\uff55\uff4c\uff4c",
    "a\u00a0b \u00a0c\u00a0 d\u3000e \u3000f\u2028g \u2028 h \u0085 i \u2009j\u2009 k",
    "z\u200bw \u200b x\u200b y\u200d \u200dz \ufeffbom soft\u00adhyphen \u00ad",
    "nul\x00 \x00x tab\x0b \x0c form\x0c bell\x07 \x1c sep\x1c",
    "\u0600 \u0600a a\u0600 \u0d4e \U000111c2 k \u0e33 \uff9e \U0001f3fd",
    "\u65e5\u672c\u8a9e \u306e\u6587 \u4e2d\u6587\u6587\u672c\u3002 \ud55c\uad6d\uc5b4",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e20\u0e32\u0e29\u0e32",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f 1\ufe0f\u20e3 ok",
    "\u2581meta \u2581 a\u2581b \u00b4quote\u00b4 \u00a8 \u00bd \u03a3\u03a3 \u0130 \u1e9e",
    "http://example.org/a_b?c=d&e#f snake_case CamelCase x**2 <b>tag</b> {\"k\": [1, 2]}",
)  # fmt: skip


def chunk_cache(library: Tokenizer, *, name: str) -> ChunkCache | None:
    """A cache for the tokenizer, or None where its cuts are not proven or its own ids say no.

    Args:
        library: the tokenizer, which neither truncates nor pads.
        name: its file, for the log.
    """
    rules = cut_rules(library)
    if rules is None:
        logger.info("%s: no proven cuts, so texts are tokenised whole", name)
        return None
    added = [token.content for token in library.get_added_tokens_decoder().values()]
    texts = [*AWKWARD, " ".join(AWKWARD), *(f"a {text} b{text}c" for text in added[:4])]
    cache = ChunkCache(library, rules)
    ids, offsets = cache.encode(pa.array(texts, pa.string()))
    wanted_ids, wanted_offsets = library_ids(library, texts)
    if not (np.array_equal(ids, wanted_ids) and np.array_equal(offsets, wanted_offsets)):
        logger.warning(
            "%s: chunks of a text yield other ids than the text does, against this tokenizer's "
            "kind; texts are tokenised whole, which is slower and always right",
            name,
        )
        return None
    return ChunkCache(library, rules)
