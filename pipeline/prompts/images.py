"""Images of a unit, for families that read them: settings, and each distinct one decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.candidates.image_sources import ImageError, ImageLimits, fetch
from pipeline.candidates.images import ImageSize, pixels
from pipeline.config import Settings

_LIMITS = ImageLimits()


class ImageSettings(Settings):
    """Settings of families that read images."""

    image_base: str | None = Field(
        None, description="Folder or URI that relative paths in the image column start from."
    )
    images_allow_https: bool = Field(
        False,
        description="Fetch https URIs of the image column, from hosts with public addresses only.",
    )
    image_max_bytes: int = Field(
        _LIMITS.max_bytes, ge=1, description="Largest encoded image; larger ones are quarantined."
    )
    image_max_source_pixels: int = Field(
        _LIMITS.max_pixels,
        ge=1,
        description="Largest width times height that is decoded, as the file's header states it.",
    )
    image_formats: tuple[str, ...] = Field(
        _LIMITS.formats, min_length=1, description="Formats that are decoded, by Pillow's names."
    )

    @property
    def image_limits(self) -> ImageLimits:
        """What may be fetched and decoded."""
        return ImageLimits(
            base=self.image_base,
            allow_https=self.images_allow_https,
            max_bytes=self.image_max_bytes,
            max_pixels=self.image_max_source_pixels,
            formats=tuple(self.image_formats),
        )


@dataclass
class DistinctImages:
    """Images in order of first use, each kept once however often and wherever it is named.

    Attributes:
        limits: what may be fetched and decoded.
        size: what images are resized to.
        kept: uint8 RGB arrays [height, width, 3].
    """

    limits: ImageLimits
    size: ImageSize
    kept: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    _known: dict[str, int | str] = field(default_factory=dict)

    def place(self, value: object) -> int | str:
        """Which of :attr:`kept` an ``image`` value is, or the reason code why it is none."""
        if not isinstance(value, str):
            return self._bytes(value)
        if value not in self._known:
            self._known[value] = self._bytes(value)
        return self._known[value]

    def places(self, values: Iterable[object]) -> list[int | str | None]:
        """:meth:`place` of each value; None where it is None."""
        return [None if value is None else self.place(value) for value in values]

    def _bytes(self, value: object) -> int | str:
        try:
            data = fetch(value, self.limits)
        except ImageError as error:
            return error.code
        # A digest, so that the bytes themselves need not be kept; the colon keeps it apart
        # from what a path may look like.
        key = f"digest::{hashlib.blake2b(data, digest_size=16).hexdigest()}"
        if key not in self._known:
            self._known[key] = self._decoded(data)
        return self._known[key]

    def _decoded(self, data: bytes) -> int | str:
        try:
            self.kept.append(pixels(data, self.limits, self.size))
        except ImageError as error:
            return error.code
        return len(self.kept) - 1
