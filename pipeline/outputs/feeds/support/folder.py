"""The files of a feed, for who loads them and for the feed itself.

::

    <path>/current.json            the generation that was handed over last
    <path>/<generation>/           9 digits
        opening.json               what is to be asked of the engine before the pieces
        00000-0000.<ending>        operations: part, and piece of the part
        00000.json                 the pieces of a part, written after them
        manifest.json              every piece with its size and sha256, what is to be asked of the
                                   engine before and after them; written last

Files are written whole or not at all, and the same part gives the same files. A loader waits for a
generation's ``manifest.json``, and loads generations in ascending order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.errors import FeedError
from pipeline.outputs.sealed import NotWholeError, sealed_json, unsealed_json
from pipeline.storage.files import FILE, FOLDER
from pipeline.storage.store import delete, exists, join, list_entries, read_versioned, write_whole

MANIFEST: Final = "manifest.json"
OPENING: Final = "opening.json"
CURRENT: Final = "current.json"

_GENERATION: Final = re.compile(r"[0-9]{9}")
_OURS: Final = re.compile(r"(manifest|opening|[0-9]{5,})\.json|[0-9]{5,}-[0-9]{4,}\.[a-z.]+")
_MOST_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class FeedFolder:
    """The folder that a feed's setting ``path`` names."""

    path: str

    def current(self) -> dict[str, Any] | None:
        """What is known of the generation that was handed over last; None: there is none.

        Raises:
            FeedError: the file is damaged.
        """
        return self._read(CURRENT)

    def hand_over(self, content: Mapping[str, Any]) -> None:
        """Say which generation is the last one."""
        write_whole(join(self.path, CURRENT), sealed_json(content))

    def write_opening(self, generation: int, content: Mapping[str, Any]) -> None:
        """Keep what is known of a generation when it is begun."""
        write_whole(self._file(generation, OPENING), sealed_json(content))

    def opening(self, generation: int) -> dict[str, Any]:
        """What :meth:`write_opening` kept.

        Raises:
            FeedError: the file is gone or damaged.
        """
        found = self._read(f"{generation:09d}/{OPENING}")
        if found is None:
            raise self._missing(generation, OPENING)
        return found

    def has_opening(self, generation: int) -> bool:
        """Whether :meth:`write_opening` was called for a generation."""
        return exists(self._file(generation, OPENING))

    def write_part(
        self, generation: int, number: int, pieces: Sequence[tuple[str, bytes, int]]
    ) -> None:
        """Write the pieces of a part, and then what they are.

        Args:
            generation: that the part belongs to.
            number: of the part.
            pieces: ending, content and operations of each, in order.
        """
        listed = []
        for place, (ending, data, rows) in enumerate(pieces):
            name = f"{number:05d}-{place:04d}{ending}"
            write_whole(self._file(generation, name), data)
            digest = hashlib.sha256(data).hexdigest()
            listed.append({"name": name, "bytes": len(data), "sha256": digest, "rows": rows})
        write_whole(self._file(generation, f"{number:05d}.json"), sealed_json({"files": listed}))

    def pieces(self, generation: int, parts: int) -> list[dict[str, Any]]:
        """The pieces of all parts, in order.

        Raises:
            FeedError: a part was not written, or its record is damaged.
        """
        listed: list[dict[str, Any]] = []
        for number in range(parts):
            record = self._read(f"{generation:09d}/{number:05d}.json")
            if record is None:
                raise self._missing(generation, f"{number:05d}.json")
            listed += record["files"]
        return listed

    def finish(self, generation: int, manifest: Mapping[str, Any]) -> None:
        """Write the manifest: the generation is whole."""
        write_whole(self._file(generation, MANIFEST), sealed_json(manifest))

    def generations(self) -> list[int]:
        """Those that have a folder, in ascending order."""
        names = [entry.name for entry in list_entries(self.path) if entry.kind == FOLDER]
        return sorted(int(name) for name in names if _GENERATION.fullmatch(name))

    def remove(self, generation: int) -> None:
        """Remove the files of a generation, the manifest first; others' files stay."""
        folder = join(self.path, f"{generation:09d}")
        delete(join(folder, MANIFEST))
        for entry in list_entries(folder):
            if entry.kind == FILE and _OURS.fullmatch(entry.name):
                delete(join(folder, entry.name))

    def _file(self, generation: int, name: str) -> str:
        return join(self.path, f"{generation:09d}", name)

    def _missing(self, generation: int, name: str) -> FeedError:
        return FeedError(
            f"{self._file(generation, name)}: missing, though it was written; files of a "
            "generation may be removed once its manifest is there. Run `rerank feed --full`"
        )

    def _read(self, key: str) -> dict[str, Any] | None:
        path = join(self.path, key)
        found = read_versioned(path, most_bytes=_MOST_BYTES)
        if found is None:
            return None
        try:
            return unsealed_json(found[0])
        except NotWholeError as error:
            raise FeedError(
                f"{path}: not as it was written: {error}. Remove it; the feed then starts with a "
                "full load"
            ) from None
