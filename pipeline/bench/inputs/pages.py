"""Synthetic pages: JPEG files that cost what scans of text cost to decode and to resize."""

from __future__ import annotations

import io
from typing import Final

import numpy as np

from pipeline.bench.inputs.texts import uniforms

#: Pixels of a visual token's side in Qwen2-VL.
_TOKEN: Final = 28

#: Pixels of a character's cell; one bit of a character is two pixels wide and high.
_CELL: Final = (24, 16)
_QUALITY: Final = 75


def page(seed: int, *, rows: int, columns: int, scan: int) -> bytes:
    """A JPEG of lines of blocks that look like text.

    Args:
        seed: another number, another page.
        rows: visual tokens from top to bottom of what the network sees.
        columns: visual tokens from left to right.
        scan: how much larger the file is than what the network sees, along each side. More than 1
            asks for a page that is reduced, so for as many tokens as the network's limit.
    """
    from PIL import Image

    height, width = (side * _TOKEN * scan for side in (rows, columns))
    lines, characters = height // _CELL[0], width // _CELL[1]
    bits = uniforms(seed + 1, lines * characters * 12 * 8).reshape(lines, characters, 12, 8)
    ink = bits < 0.4
    ink[:, :, 9:] = False  # between lines
    ink[:, :, :, 6:] = False  # between characters
    ink &= (uniforms(seed + 2, lines * characters) < 0.82).reshape(lines, characters, 1, 1)
    small = ink.transpose(0, 2, 1, 3).reshape(lines * 12, characters * 8)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    canvas = np.full((height, width), 246, dtype=np.uint8)
    canvas[: large.shape[0], : large.shape[1]][large] = 24
    sink = io.BytesIO()
    Image.fromarray(canvas).convert("RGB").save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()
