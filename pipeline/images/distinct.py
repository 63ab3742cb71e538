"""Images of a unit, each distinct one fetched and decoded once."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.config import ImagesConfig
from pipeline.images.decoder import Decoder, decoder
from pipeline.images.decoding import ImageSize
from pipeline.images.errors import ImageError
from pipeline.images.sources import ImageSource, plain
from pipeline.plain_text import redacted, visible

logger = logging.getLogger("pipeline")

#: Images that are fetched while earlier ones are decoded; at most so many encoded ones in memory.
_AHEAD: Final = 8

#: Refusals of each kind that are written to the log for a unit.
_LOGGED: Final = 3
_SHOWN: Final = 120


@dataclass
class DistinctImages:
    """Images in order of first use, each kept once however often and wherever it is named.

    Attributes:
        images: what may be fetched and decoded.
        size: what images are resized to.
        kept: uint8 RGB arrays [height, width, 3].
    """

    images: ImagesConfig
    size: ImageSize
    kept: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _source: ImageSource = field(init=False)
    _decoder: Decoder = field(default_factory=decoder)
    _by_path: dict[str, int | str] = field(default_factory=dict)
    _by_digest: dict[bytes, int | str] = field(default_factory=dict)
    _refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._source = ImageSource(self.images)

    def places(self, values: Iterable[object]) -> list[int | str | None]:
        """Of each ``image`` value which of :attr:`kept` it is, or the reason code why it is none.

        None where the value is None. Paths are fetched by a few threads, in order and not far
        ahead of what is decoded.
        """
        found: list[int | str | None] = []
        waiting: deque[tuple[object, Future[bytes] | None]] = deque()
        asked: set[str] = set()
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="image") as pool:
            for value in map(plain, values):
                future = None
                if isinstance(value, str) and value not in asked and value not in self._by_path:
                    asked.add(value)
                    future = pool.submit(self._source.read, value)
                waiting.append((value, future))
                if len(waiting) > _AHEAD:
                    found.append(self._place(*waiting.popleft()))
            found.extend(self._place(*pair) for pair in waiting)
        return found

    def _place(self, value: object, future: Future[bytes] | None) -> int | str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            return self._fetched(value, None)
        if value not in self._by_path:
            self._by_path[value] = self._fetched(value, future)
        return self._by_path[value]

    def _fetched(self, value: object, future: Future[bytes] | None) -> int | str:
        try:
            data = self._source.read(value) if future is None else future.result()
            # A digest, so that the bytes themselves need not be kept.
            key = hashlib.blake2b(data, digest_size=16).digest()
            if key not in self._by_digest:
                self._by_digest[key] = self._decoded(data, value)
            return self._by_digest[key]
        except ImageError as error:
            return self._reason(error, value)

    def _decoded(self, data: bytes, value: object) -> int | str:
        try:
            self.kept.append(self._decoder.pixels(data, self.images, self.size))
        except ImageError as error:
            return self._reason(error, value)
        return len(self.kept) - 1

    def _reason(self, error: ImageError, value: object) -> str:
        self._refused[error.code] += 1
        if self._refused[error.code] <= _LOGGED:
            named = repr(visible(redacted(value[:_SHOWN]))) if isinstance(value, str) else "bytes"
            logger.warning("image %s: %s", named, visible(redacted(str(error))))
        return error.code
