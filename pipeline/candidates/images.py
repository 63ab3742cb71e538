"""Images of candidates: checked before they are decoded, decoded and resized by Pillow.

The pixels are those of Qwen2-VL's image processor with its Pillow backend, bit for bit: EXIF
orientation, conversion to RGB (transparency is dropped, not composited), sides rounded to a
multiple of the patch block, bicubic. The first frame of a film is the image.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from pipeline.candidates.image_sources import ImageError, ImageLimits
from pipeline.candidates.reasons import IMAGE_DECODE, IMAGE_LIMIT

#: Longest side over shortest; beyond it Qwen2-VL's processor refuses an image.
_MOST_ELONGATED: Final = 200


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """What an image is resized to.

    Attributes:
        factor: both sides become a multiple of it (patch size times merged patches per side).
        min_pixels: smaller images are enlarged.
        max_pixels: larger images are reduced.
    """

    factor: int = 28
    min_pixels: int = 3_136
    max_pixels: int = 602_112

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing, in pixels; ``smart_resize`` of Qwen2-VL's processor.

        Halves are rounded to even (70 / 28 = 2.5 becomes 2), as Python's ``round`` does.

        Raises:
            ImageError: one side is more than 200 times the other.
        """
        if max(height, width) / min(height, width) > _MOST_ELONGATED:
            raise ImageError(
                IMAGE_LIMIT,
                f"{width} x {height}: one side is over {_MOST_ELONGATED} times the other",
            )
        factor = self.factor
        rows, columns = round(height / factor), round(width / factor)
        if rows * columns * factor**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            rows = max(1, math.floor(height / shrink / factor))
            columns = max(1, math.floor(width / shrink / factor))
        elif rows * columns * factor**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
        return rows * factor, columns * factor


def pixels(data: bytes, limits: ImageLimits, size: ImageSize) -> npt.NDArray[np.uint8]:
    """uint8 RGB [height, width, 3] of an encoded image, both sides multiples of ``size.factor``.

    Raises:
        ImageError: it is no image, is damaged, or exceeds a limit.
    """
    image = decode(data, limits)
    height, width = size.fit(image.height, image.width)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """The first frame in RGB, turned as its EXIF orientation says.

    Raises:
        ImageError: image_limit before anything is decoded, image_decode for any defect.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(IMAGE_LIMIT, f"more than {limits.max_bytes} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; size is checked below
            with Image.open(io.BytesIO(data), formats=limits.formats) as opened:
                _check_header(opened, limits)
                return ImageOps.exif_transpose(opened).convert("RGB")
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise ImageError(IMAGE_LIMIT, str(error)) from None
    except Exception as error:  # Pillow's decoders raise nearly every built-in class
        raise ImageError(IMAGE_DECODE, f"{type(error).__name__}: {error}") from None


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    if image.width * image.height > limits.max_pixels or max(image.size) > limits.max_side:
        raise ImageError(
            IMAGE_LIMIT,
            f"{image.width} x {image.height} is over {limits.max_pixels} pixels or "
            f"{limits.max_side} on a side",
        )
