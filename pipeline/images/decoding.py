"""Encoded images to pixels: judged by their header first, decoded and resized by Pillow.

The pixels are those of Qwen2-VL's image processor with its Pillow backend, bit for bit: EXIF
orientation, conversion to RGB (transparency is dropped, not composited), sides rounded to a
multiple of the patch block, bicubic. Models that are published with the package ``qwen_vl_utils``
get its pixels. The first frame of a film is the image. JPEG's reduced decoding (``draft``) would
save memory, and gives other pixels, so it is not used.

Needs Pillow alone, so that a process that only decodes is small.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from dataclasses import dataclass
from typing import Final, Literal

from PIL import Image, ImageOps

#: Pillow's names of the formats that are decoded.
FORMATS: Final = ("JPEG", "PNG", "WEBP")

#: Bytes of memory that a process may have which decodes.
MEMORY: Final = 2**30

#: What of it is not for pixels: the interpreter and Pillow (25 MiB), and room for their tables.
_FIXED: Final = 48 * 2**20

#: Peak bytes per pixel from opening to the resized image beside two copies of the file, by format;
#: measured with 30 megapixels in every mode, progressive, turned by EXIF, with transparency.
#: JPEG, at most 9.9 and 11.7: all coefficients of a progressive file (2 bytes a band) beside the
#: image. PNG, 8.1: the image, turned or converted. WEBP, 16.6: two canvases of the decoder, a copy,
#: and the image.
_BYTES_PER_PIXEL: Final = {"JPEG": 10, "JPEG with four bands": 12, "PNG": 9, "WEBP": 18}

_MOST_ON_A_SIDE: Final = 32_768

#: Longest side over shortest; beyond it Qwen2-VL's processor refuses an image.
_MOST_ELONGATED: Final = 200


class TooLargeError(Exception):
    """The image exceeds a limit."""


class DamagedError(Exception):
    """It is no image, is damaged, or of another format."""


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """What an image is resized to.

    Attributes:
        factor: both sides become a multiple of it (patch size times merged patches per side).
        min_pixels: smaller images are enlarged.
        max_pixels: larger images are reduced.
        steps: whose they are: transformers' ``processor``, or ``qwen_vl_utils``, which looks at no
            EXIF orientation, lays RGBA on white, and lets no side round to nothing.
    """

    factor: int = 28
    min_pixels: int = 3_136
    max_pixels: int = 602_112
    steps: Literal["processor", "qwen_vl_utils"] = "processor"

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after resizing, in pixels; ``smart_resize`` of Qwen2-VL's processor.

        Halves are rounded to even (70 / 28 = 2.5 becomes 2), as Python's ``round`` does.

        Raises:
            TooLargeError: one side is more than 200 times the other.
        """
        if max(height, width) / min(height, width) > _MOST_ELONGATED:
            raise TooLargeError(
                f"{width} x {height}: one side is over {_MOST_ELONGATED} times the other"
            )
        factor = self.factor
        least = 1 if self.steps == "qwen_vl_utils" else 0
        rows, columns = (max(least, round(side / factor)) for side in (height, width))
        if rows * columns * factor**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            rows = max(1, math.floor(height / shrink / factor))
            columns = max(1, math.floor(width / shrink / factor))
        elif rows * columns * factor**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            rows, columns = math.ceil(height * grow / factor), math.ceil(width * grow / factor)
        return rows * factor, columns * factor


def resized(data: bytes, size: ImageSize, *, max_pixels: int) -> Image.Image:
    """An encoded image in RGB, both sides multiples of ``size.factor``.

    Args:
        data: the file.
        size: what it is resized to.
        max_pixels: width times height of the file.

    Raises:
        TooLargeError: before anything is decoded, where the header exceeds a limit.
        DamagedError: any defect.
    """
    image = decode(data, max_pixels=max_pixels, steps=size.steps)
    height, width = size.fit(image.height, image.width)
    try:
        return image.resize((width, height), Image.Resampling.BICUBIC)
    except MemoryError:
        raise TooLargeError(_out_of_memory()) from None


def decode(
    data: bytes, *, max_pixels: int, steps: Literal["processor", "qwen_vl_utils"] = "processor"
) -> Image.Image:
    """The first frame in RGB, turned as its EXIF orientation says unless ``steps`` do not look.

    Raises:
        TooLargeError: before anything is decoded, where the header exceeds a limit.
        DamagedError: any defect.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata; size is checked below
            if (canvas := webp_canvas(data)) is not None:  # Pillow allocates it when it opens
                _check("WEBP", canvas, len(data), max_pixels)
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                _check(_kind(opened), opened.size, len(data), max_pixels)
                opened.load()
                if steps == "qwen_vl_utils":
                    return _on_white(opened)
                ImageOps.exif_transpose(opened, in_place=True)
                return opened if opened.mode == "RGB" else opened.convert("RGB")
    except TooLargeError:
        raise
    except Image.DecompressionBombError as error:
        raise TooLargeError(str(error)) from None
    except MemoryError:
        raise TooLargeError(_out_of_memory()) from None
    except Exception as error:  # Pillow's decoders raise nearly every built-in class
        raise DamagedError(f"{type(error).__name__}: {error}") from None


def _on_white(image: Image.Image) -> Image.Image:
    """``to_rgb`` of qwen_vl_utils: palettes with transparency and the like only lose it."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image)
    return white


def most_pixels(kind: str, encoded: int = 0) -> int:
    """The largest image of a kind whose decoding stays within :data:`MEMORY`.

    Args:
        kind: a format, or ``JPEG with four bands``.
        encoded: bytes of the file, of which the decoders hold two copies.
    """
    return (MEMORY - _FIXED - 2 * encoded) // _BYTES_PER_PIXEL[kind]


def webp_canvas(data: bytes) -> tuple[int, int] | None:
    """Width and height that a WEBP file states (RFC 9649); None where it is none, or is cut."""
    if len(data) < 30 or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _kind(image: Image.Image) -> str:
    if image.format in ("PNG", "WEBP"):
        return image.format
    # MPO, several JPEGs in one file, is opened by the same plug-in.
    return "JPEG with four bands" if image.mode == "CMYK" else "JPEG"


def _check(kind: str, size: tuple[int, int], encoded: int, max_pixels: int) -> None:
    width, height = size
    most = min(max_pixels, most_pixels(kind, encoded))
    if width * height > most or max(size) > _MOST_ON_A_SIDE:
        raise TooLargeError(
            f"{width} x {height} ({kind}) is over {most} pixels or {_MOST_ON_A_SIDE} on a side; "
            f"input.images.max_pixels is {max_pixels}, and decoding may take 1 GiB"
        )


def _out_of_memory() -> str:
    return f"decoding takes more than {MEMORY >> 20} MiB"
