"""Long arrays of JSON files, packed: a million objects take gigabytes, their text a tenth of that.

The text is what :func:`json.dumps` writes with ``indent=2`` for an array that stands at the top of
an object, so it goes into a file, and comes out of one, as it is. No line break is ever part of a
string there, so that items are told apart by their indentation, without being parsed.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, overload

#: Items that are packed, and unpacked, together: about 100 KB of a manifest.
_AT_ONCE: Final = 256

#: The fastest, which is nearly as small: most of a manifest are digests.
_LEVEL: Final = 1

_OPENS, _CLOSES, _BETWEEN = b"[\n    ", b"\n  ]", b",\n    "
_NEXT: Final = re.compile(rb",\n    (?! )")


class PackedItems(Sequence[Any]):
    """A list of what JSON can hold, to which items are only added; each is made when it is read.

    It equals every sequence of equal items. Whoever needs all of them iterates once.

    Args:
        items: what it holds at first.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._blocks: list[bytes] = []
        self._last: list[bytes] = []
        self._read: tuple[int, list[Any]] | None = None
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """Add an item at the end."""
        self._last.append(json.dumps(item, indent=2).replace("\n", "\n    ").encode())
        self._read = None
        if len(self._last) == _AT_ONCE:
            self._blocks.append(zlib.compress(_BETWEEN.join(self._last), _LEVEL))
            self._last = []

    @classmethod
    def of_text(cls, data: bytes, start: int, stop: int) -> PackedItems:
        """Items whose text is a part of a file's, which :meth:`text` wrote between its brackets.

        Args:
            data: the file.
            start: where the first item begins.
            stop: where the last one ends.
        """
        packed = cls()
        for number, gap in enumerate(_NEXT.finditer(data, start, stop), start=1):
            if number % _AT_ONCE == 0:
                packed._blocks.append(zlib.compress(data[start : gap.start()], _LEVEL))
                start = gap.end()
        packed._last = _NEXT.split(data[start:stop])
        if len(packed._last) == _AT_ONCE:
            packed._blocks.append(zlib.compress(data[start:stop], _LEVEL))
            packed._last = []
        return packed

    def text(self) -> Iterator[bytes]:
        """The array as it stands in a file, piece by piece."""
        before = _OPENS
        for block in self._texts():
            yield before
            yield block
            before = _BETWEEN
        yield b"[]" if before is _OPENS else _CLOSES

    def __len__(self) -> int:
        return _AT_ONCE * len(self._blocks) + len(self._last)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        """An item, or a list of some.

        Raises:
            ValueError: the text is not what :meth:`text` writes.
        """
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        block, inside = divmod(range(len(self))[place], _AT_ONCE)
        if self._read is None or self._read[0] != block:
            full = block < len(self._blocks)
            text = zlib.decompress(self._blocks[block]) if full else _BETWEEN.join(self._last)
            self._read = block, _items(text, _AT_ONCE if full else len(self._last))
        return self._read[1][inside]

    def __iter__(self) -> Iterator[Any]:
        """Items one by one; raises as :meth:`__getitem__`."""
        for block in self._blocks:
            yield from _items(zlib.decompress(block), _AT_ONCE)
        yield from _items(_BETWEEN.join(self._last), len(self._last))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedItems):
            same = (self._blocks, self._last) == (other._blocks, other._last)
            if same:
                return True
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} items>"

    def _texts(self) -> Iterator[bytes]:
        yield from map(zlib.decompress, self._blocks)
        if self._last:
            yield _BETWEEN.join(self._last)


def without_array(data: bytes, key: str) -> tuple[bytes, PackedItems | None]:
    """The text of a JSON object with an empty array in the place of a long one, and that array.

    Where the text is not as ``indent=2`` writes it, or has no such array, the text as it is and
    None.
    """
    opening = b"\n  " + json.dumps(key).encode() + b": " + _OPENS
    start = data.find(opening) if data.startswith(b'{\n  "') else -1
    stop = data.find(_CLOSES, start)
    if start < 0 or stop < 0:
        return data, None
    first = start + len(opening)
    rest = data[: first - len(_OPENS)] + b"[]" + data[stop + len(_CLOSES) :]
    return rest, PackedItems.of_text(data, first, stop)


def _items(text: bytes, expected: int) -> list[Any]:
    items: list[Any] = json.loads(b"[" + text + b"]")
    if len(items) != expected:
        raise ValueError(f"{len(items)} items, not {expected}")
    return items
