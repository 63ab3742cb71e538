"""Which files a path pattern names: one rule for every store.

``*`` stands for any characters of one name, ``?`` for one, ``[ab]`` and ``[!ab]`` for one of some
or none of them, and ``**`` as a whole name for any number of folders, or at the end for everything
below. A file that a pattern matches is named by it, and so is every data file below a folder that
it matches. As in a shell no wildcard stands for a name that begins with a dot, and none for one
that begins with ``_``, unless the pattern says so itself: such files are not data
(``_SUCCESS``, ``_metadata``, ``.part-0.parquet.crc``), but a partition ``_day=1/`` is.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

#: Endings by which a data file is known in a folder; a file that is named itself may have any.
DATA_ENDINGS: Final = (".parquet", ".pq")

_MAGIC: Final = re.compile(r"[*?\[]")


def has_wildcards(path: str) -> bool:
    """Whether a path could be a pattern."""
    return _MAGIC.search(path) is not None


def is_sidecar(name: str) -> bool:
    """Whether a file or folder of this name is left out where nobody names it."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def is_data(path: str, endings: tuple[str, ...]) -> bool:
    """Whether a path below a folder is that of a data file; its ending may be in capitals."""
    return path.lower().endswith(endings) and not any(map(is_sidecar, path.split("/")))


class PathPattern:
    """A pattern for full names of files, as their store spells them.

    Attributes:
        endings: of data files below a folder that is matched.
        literal: what every name that is matched begins with.
    """

    def __init__(self, pattern: str, endings: tuple[str, ...]) -> None:
        self.endings = endings
        self.literal = _MAGIC.split(pattern)[0]
        self._parts = pattern.rstrip("/").split("/")

    @property
    def folder(self) -> str:
        """The deepest folder that everything that is matched lies in, with its slash."""
        return self.literal[: self.literal.rfind("/") + 1]

    def takes(self, path: str) -> bool:
        """Whether the pattern names a file, itself or by a folder above it."""
        if self._whole.fullmatch(path):
            return True
        names, most = path.split("/"), len(self._parts)
        depths = range(1, len(names)) if "**" in self._parts else range(most, most + 1)
        return any(
            is_data("/".join(names[depth:]), self.endings)
            and self._whole.fullmatch("/".join(names[:depth]))
            for depth in depths
        )

    def enters(self, folder: str) -> bool:
        """Whether a file below a folder can be taken; for stores where looking costs something."""
        names = folder.rstrip("/").split("/")
        for part, name in zip(self._parts, names, strict=False):
            if part == "**":
                return True
            if not re.fullmatch(_one_name(part), name, re.DOTALL):
                return False
        return True

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        found = ""
        for place, part in enumerate(self._parts):
            last = place == len(self._parts) - 1
            if part != "**":
                found += _one_name(part) + ("" if last else "/")
            elif last:
                found += f"{_ANY_NAME}(?:/{_ANY_NAME})*"
            else:
                found += f"(?:{_ANY_NAME}/)*"
        return re.compile(found, re.DOTALL)


#: A name that a wildcard at its beginning may stand for.
_VISIBLE: Final = r"(?!\.|_(?![^/]*=))"
_ANY_NAME: Final = rf"{_VISIBLE}[^/]+"


def _one_name(part: str) -> str:
    """The expression for one name of a pattern."""
    found, place = "", 0
    while place < len(part):
        char = part[place]
        place += 1
        end = part.find("]", place + 1 + (part[place : place + 1] == "!")) if char == "[" else -1
        if char in "*?":
            found += "[^/]*" if char == "*" else "[^/]"
        elif end > 0 and (one := _one_character(part[place:end])):
            found, place = found + one, end + 1
        else:
            found += re.escape(char)
    return (_VISIBLE if part[:1] in ("*", "?", "[") else "") + found


def _one_character(inner: str) -> str:
    """The expression for what stands in brackets; empty where that is no set of characters."""
    escaped = re.sub(r"([\\\]\[^&~|])", r"\\\1", inner.removeprefix("!"))
    found = f"(?!/)[{'^' if inner.startswith('!') else ''}{escaped}]"
    try:
        re.compile(found)
    except re.error:  # such as [z-a]
        return ""
    return found
