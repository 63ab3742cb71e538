"""Where a tokenizer provably cuts, read from its own components.

For a text ``a + b`` these rules promise ``ids(a + b) == ids(a) + ids(b)``, where ``b`` begins with
ASCII whitespace and ``a`` ends with something else. Both sides keep all their characters, so what
a tokenizer does with runs of spaces, a prefix space or the text's end happens inside one chunk.
The promise holds for the combinations named here, and not by likeness:

* **BERT** (BertNormalizer, BertPreTokenizer, WordPiece). Cleaning, spacing of Chinese characters,
  lower case and the removal of marks look at one character at a time; decomposition (NFD) reorders
  marks between two starters only, and ASCII is starters. The pre-tokeniser drops whitespace and
  isolates punctuation, so chunks are cut on both sides of ASCII punctuation too.
* **SentencePiece Unigram** (Precompiled or NFKC normaliser, Metaspace with a prefix for every
  piece). Precompiled maps one extended grapheme cluster at a time. A space, tab or break begins a
  cluster unless the character before is a prepended mark, and is a cluster alone unless the one
  after extends it: rules GB4, GB5, GB9, GB9a and GB9b of Unicode's UAX #29. Both characters are
  looked at. Under NFKC nothing composes across a space. Metaspace cuts before every space.
* **Byte-level BPE** (NFC or no normaliser, the split pattern of GPT-2, Qwen or Llama 3). Nothing
  composes across ASCII whitespace or punctuation. No alternative of the patterns goes on from a
  character that is not whitespace to a space, or from a letter or digit to punctuation; none looks
  behind, and only runs of whitespace look ahead.

Texts of added tokens are matched before all of this. No cut is made at a character that one of them
contains, so each stands in one chunk, and chunks that hold one are not sound.
"""

from __future__ import annotations

import json
import re
import string
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

#: The whitespace at which chunks may begin; whatever else counts as whitespace stays inside them.
WHITESPACE: Final = " \t\n\r"
_META: Final = "\u2581"

_QWEN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3: Final = _QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

#: Letters and symbols that extend the cluster before them (GCB=Extend or SpacingMark), beside the
#: marks: Thai and Lao vowels, half-width voicing marks, skin tones.
_EXTENDING: Final = frozenset(
    "\u0e33\u0eb3\uff9e\uff9f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
)

#: What no normaliser here changes, with edges of no interest; most chunks are so.
_ASCII: Final = re.compile(r"[ \t\n\r]*[!-~]+")

#: A cut is made between a byte of the first set and one of the second.
Cut = tuple[frozenset[int], frozenset[int]]

_ANY: Final = frozenset(range(256))
_WHITE: Final = frozenset(WHITESPACE.encode())
_PUNCTUATION: Final = frozenset(string.punctuation.encode())
_WORD: Final = frozenset((string.ascii_letters + string.digits).encode())
_PRINTABLE: Final = _PUNCTUATION | _WORD
_BREAK: Final = frozenset(b"\r\n")


@dataclass(frozen=True, kw_only=True)
class CutRules:
    """Where chunks of a text begin, and which chunks the promise does not cover.

    Attributes:
        cuts: at most eight.
        any_edge: whether every chunk is sound, whatever its first and last characters.
        normalizer: of the tokenizer.
        added: finds the text of an added token.
        added_normalized: finds the normalised text of an added token that is matched there.
    """

    cuts: tuple[Cut, ...]
    any_edge: bool = False
    normalizer: Normalizer | None = None
    added: re.Pattern[str] | None = None
    added_normalized: re.Pattern[str] | None = None

    @cached_property
    def tables(self) -> tuple[bytes, bytes]:
        """Of each byte value the cuts that it may stand before, and those it may stand behind.

        A cut is made between two bytes where the first's entry of one and the second's of the
        other have a bit in common.
        """
        return (
            bytes(sum((byte in cut[0]) << i for i, cut in enumerate(self.cuts)) for byte in _ANY),
            bytes(sum((byte in cut[1]) << i for i, cut in enumerate(self.cuts)) for byte in _ANY),
        )

    def unsound(self, chunks: list[str]) -> list[bool]:
        """Which chunks must not be tokenised apart from the text around them."""
        found = [False] * len(chunks)
        if not self.any_edge:
            found = [not (_ASCII.fullmatch(c) or self._plain_edges(c)) for c in chunks]
        if self.added and self.added.search("".join(chunks)):
            found = [
                bad or bool(self.added.search(c)) for bad, c in zip(found, chunks, strict=True)
            ]
        if self.added_normalized:
            for index, chunk in enumerate(chunks):
                if self.added_normalized.search(self._normal(chunk)):
                    found[index] = True
        return found

    def _plain_edges(self, chunk: str) -> bool:
        body = chunk.lstrip(WHITESPACE)
        if not body:
            return True  # the end of a text: nothing comes after it
        if not _begins_cluster(body[0]):
            return False
        if chunk[-1] not in WHITESPACE and not _ends_cluster(chunk[-1]):
            return False
        normal = self._normal(body)
        return (
            bool(normal)
            and not (normal[0].isspace() or (body[-1] not in WHITESPACE and normal[-1].isspace()))
            and _META not in normal
        )

    def _normal(self, text: str) -> str:
        return text if self.normalizer is None else str(self.normalizer.normalize_str(text))


def cut_rules(library: Tokenizer) -> CutRules | None:
    """The rules of a tokenizer, or None where none are proven."""
    normalizers, splitters = _parts(library.normalizer), _parts(library.pre_tokenizer)
    kind = type(library.model).__name__
    added = _added_tokens(library)
    cuts: list[Cut] = []
    if added is None:
        return None
    punctuation = _PUNCTUATION - added.bytes
    if kind == "WordPiece":
        cuts = _bert(normalizers, splitters, punctuation)
    elif kind == "Unigram" and not library.model.alpha:
        cuts = _unigram(normalizers, splitters, library)
    elif kind == "BPE" and not library.model.dropout:
        cuts = _byte_level(normalizers, splitters, punctuation)
    if not cuts:
        return None
    return CutRules(
        cuts=tuple(cuts),
        any_edge=kind == "WordPiece",
        normalizer=library.normalizer,
        added=_any_of(added.plain),
        added_normalized=_any_of(added.normalized),
    )


def _before(characters: str) -> Cut:
    """Before these, behind anything but whitespace."""
    return _ANY - _WHITE, frozenset(characters.encode())


def _bert(normalizers: list[Any], splitters: list[Any], punctuation: frozenset[int]) -> list[Cut]:
    if _kinds(normalizers) != ["BertNormalizer"] or _kinds(splitters) != ["BertPreTokenizer"]:
        return []
    return [_before(WHITESPACE), (_ANY - _WHITE, punctuation), (punctuation, _ANY)]


def _unigram(normalizers: list[Any], splitters: list[Any], library: Tokenizer) -> list[Cut]:
    words = _kinds(splitters) == ["WhitespaceSplit", "Metaspace"]
    if not words and _kinds(splitters) != ["Metaspace"]:
        return []
    meta = splitters[-1]
    if (meta["replacement"], meta["prepend_scheme"], meta["split"]) != (_META, "always", True):
        return []
    order = " ".join(_kinds(normalizers))
    if not re.fullmatch(r"(Strip )?(Precompiled|NFKC)( Strip)?( Replace)?", order):
        return []
    if normalizers[-1]["type"] == "Replace":
        replace = normalizers[-1]
        if replace["pattern"] != {"Regex": " {2,}"}:
            return []
        if replace["content"] != " " and (words or replace["content"] != _META):
            return []
    elif not words and any(part.get("strip_left") for part in normalizers):
        return []  # spaces before a word would be dropped at a chunk's start, and only there
    if any(part.get("strip_right") for part in normalizers) and not _blank(library):
        return []
    normal = library.normalizer.normalize_str
    kept = "".join(c for c in WHITESPACE if normal(f"a{c}b") == "a b")
    ascii_stays = all(normal(f"a{chr(b)}a") == f"a{chr(b)}a" for b in _PRINTABLE)
    return [_before(kept)] if " " in kept and ascii_stays else []


def _blank(library: Tokenizer) -> bool:
    """Whether whitespace alone yields no token, as it does not at the end of a stripped text."""
    texts = [" ", "  ", " \n"]
    found = library.encode_batch_fast(texts, add_special_tokens=False)
    return not any(encoding.ids for encoding in found)


def _byte_level(
    normalizers: list[Any], splitters: list[Any], punctuation: frozenset[int]
) -> list[Cut]:
    if _kinds(normalizers) not in ([], ["NFC"]) or not splitters:
        return []
    level = splitters[-1]
    if _kinds(splitters) == ["ByteLevel"] and level["use_regex"]:
        if level["add_prefix_space"]:  # any other chunk would get one
            return [_before(" ")]
        return [_before(WHITESPACE), (_WORD, punctuation)]
    if _kinds(splitters) != ["Split", "ByteLevel"]:
        return []
    split = splitters[0]
    isolated = split["behavior"] == "Isolated" and not split["invert"]
    known = split["pattern"].get("Regex") in (_QWEN, _LLAMA3)
    if not (isolated and known) or level["use_regex"] or level["add_prefix_space"]:
        return []
    # Punctuation takes the line breaks behind it, so a break does not begin a chunk; the
    # alternatives that end in a break take all of them and nothing behind.
    return [_before(" \t"), (_WORD, punctuation), (_BREAK, _PRINTABLE)]


class _Added(NamedTuple):
    """Texts of added tokens as they are written and as they are matched in normalised text."""

    plain: list[str]
    normalized: list[str]

    @property
    def bytes(self) -> frozenset[int]:
        return frozenset("".join([*self.plain, *self.normalized]).encode())


def _added_tokens(library: Tokenizer) -> _Added | None:
    """The added tokens, or None where one could reach across two chunks."""
    plain, normalized = [], []
    for token in library.get_added_tokens_decoder().values():
        content = token.content
        raw = not token.normalized or library.normalizer is None
        if raw and set(content) <= set(WHITESPACE):
            # A run of whitespace stands whole in one chunk. The library tokenises what is on either
            # side of such a token apart, which is what chunks are, so only options can matter.
            if token.special or token.lstrip or token.rstrip or token.single_word:
                plain.append(content)
            continue
        plain.append(content)
        if not raw:
            content = library.normalizer.normalize_str(content)
            normalized.append(content)
        if not content or any(character.isspace() for character in content):
            return None
    return _Added(plain, normalized)


def _any_of(contents: list[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, contents))) if contents else None


def _begins_cluster(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in _EXTENDING


def _ends_cluster(character: str) -> bool:
    """Whether it is no whitespace and no control, and a cluster never goes on to a space after it.

    GCB=Prepend is one Malayalam letter, letters of scripts of the block range U+11000-11FFF, and
    format characters.
    """
    code = ord(character)
    return (
        unicodedata.category(character)[0] in "LNPSM"
        and code != 0xD4E
        and not 0x11000 <= code < 0x12000
    )


def _parts(component: Any) -> list[Any]:
    """A component's settings; a sequence's, one after the other."""
    if component is None:
        return []
    state = json.loads(component.__getstate__())
    if state["type"] != "Sequence":
        return [state]
    return list(state.get("normalizers") or state.get("pretokenizers") or [])


def _kinds(parts: list[Any]) -> list[str]:
    return [part["type"] for part in parts]
