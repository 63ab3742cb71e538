"""When two texts are the same, or nearly: normal forms and shingles."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.hashes import Hashes

#: Punctuation that tells words apart ("c#", "100%"); all other punctuation separates words.
_KEPT: Final = frozenset("#%&@*")

#: Words in a shingle of a document, as in Broder's "On the resemblance and containment of
#: documents" (1997) but shorter: passages have few words.
_WORDS: Final = 3

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


class _Separators(dict[int, int | str]):
    """A translation table, filled as characters come: punctuation and controls become a blank."""

    def __missing__(self, code: int) -> int | str:
        character = chr(code)
        category = unicodedata.category(character)
        separates = category[0] in "PZC" and character not in _KEPT
        self[code] = " " if separates else code
        return self[code]


_SEPARATORS: Final = _Separators()


def normalised(text: str) -> str:
    """NFKC, case folded, punctuation and white space as single blanks.

    A text of nothing but punctuation keeps it, so that "?" and "!" stay different.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(folded.translate(_SEPARATORS).split())
    return words or " ".join(folded.split())


def word_shingles(normal: str) -> frozenset[str]:
    """Every run of three words of a normalised text; a shorter text is its own only shingle."""
    words = normal.split(" ")
    if len(words) <= _WORDS:
        return frozenset((normal,))
    return frozenset(" ".join(words[i : i + _WORDS]) for i in range(len(words) - _WORDS + 1))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Size of the intersection over size of the union, 0 to 1; two empty sets are equal."""
    common = len(left & right)
    union = len(left) + len(right) - common
    return common / union if union else 1.0


def character_shingles(
    normals: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Every run of three characters of each text with a blank before and after, as hashes.

    All texts are cut at once: one pass over one array of code points.

    Args:
        normals: [N] normalised texts.

    Returns:
        offsets: int64 [N + 1].
        shingles: uint32, those of text ``i``, ascending and each once, at
            ``offsets[i]:offsets[i + 1]``. An empty text has one, of its two blanks.
    """
    padded = [f" {text} " if text else "   " for text in normals]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    owner = np.repeat(np.arange(len(padded)), lengths)
    if len(codes) < 3:
        return np.zeros(len(normals) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint32)
    wide = codes.astype(np.uint64)
    packed = (wide[:-2] << np.uint64(42)) | (wide[1:-1] << np.uint64(21)) | wide[2:]
    inside = owner[:-2] == owner[2:]
    hashed = (mixed(packed[inside]) >> np.uint64(32)).astype(np.uint64)
    keys = np.unique((owner[:-2][inside].astype(np.uint64) << np.uint64(32)) | hashed)
    counts = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(padded))
    return np.append(0, np.cumsum(counts)), (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def mixed(values: Hashes) -> Hashes:
    """uint64 [N]: splitmix64's finaliser (Steele, Lea and Flood 2014), a bijection that scatters.

    It stands for a random draw that depends on nothing but its argument.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(values, dtype=np.uint64) + _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)
