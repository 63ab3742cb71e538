"""Where the images of a batch of Qwen2-VL sequences stand, and the positions of all its tokens.

Source: "multimodal rotary position embedding" of the Qwen2-VL report, arXiv:2409.12191, and
``get_rope_index`` of transformers' Qwen2-VL, which derives the same from a search for ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.rerankers.support.qwen2_vl import IMAGE, PLACE

if TYPE_CHECKING:
    from pipeline.rerankers.base import Batch, Int64s
    from pipeline.rerankers.support.qwen2_vl import Layout


@dataclass(frozen=True)
class Placement:
    """Where images of a batch stand.

    Attributes:
        images: int64 [I], the distinct images of the batch, as places in ``Sequences.images``.
        targets: int64 [v], positions in the padded batch [b * width] that hold image tokens.
        sources: int64 [v], which row of the distinct images' tokens goes there.
        positions: int64 [3, b, width], temporal, row and column positions; 0 at padding.
    """

    images: Int64s
    targets: Int64s
    sources: Int64s
    positions: Int64s


def place_images(batch: Batch, layout: Layout) -> Placement:
    """Where the image tokens of a padded batch go, and the positions of all of its tokens.

    A text token stands at (p, p, p). Token (row, column) of an image that starts at p stands at
    (p, p + row, p + column), and the text after it goes on at p + max(rows, columns).
    """
    lengths = batch.lengths
    width = int(lengths.max())
    used = batch.sequences.links[IMAGE][batch.chosen]
    starts = batch.sequences.links[PLACE][batch.chosen]
    distinct = np.unique(used[used >= 0])
    grids = [layout.tokens(batch.sequences.images[image]) for image in distinct]
    firsts = np.append(0, np.cumsum([rows * columns for rows, columns in grids])).astype(np.int64)
    inside = np.arange(width) < lengths[:, None]
    positions = np.where(inside, np.arange(width), 0)[None].repeat(3, axis=0)
    targets, sources = [], []
    for row, slot in zip(*np.nonzero(used >= 0), strict=True):
        number = int(np.searchsorted(distinct, used[row, slot]))
        rows, columns = grids[number]
        start, count = int(starts[row, slot]), rows * columns
        here = positions[:, row]
        first = int(here[0, start])
        stop = start + count
        here[:, stop : lengths[row]] += max(rows, columns) - count
        here[0, start:stop] = first
        here[1, start:stop] = first + np.repeat(np.arange(rows), columns)
        here[2, start:stop] = first + np.tile(np.arange(columns), rows)
        targets.append(row * width + np.arange(start, stop))
        sources.append(np.arange(firsts[number], firsts[number + 1]))
    nothing = [np.zeros(0, dtype=np.int64)]
    return Placement(
        images=distinct,
        targets=np.concatenate(targets or nothing),
        sources=np.concatenate(sources or nothing),
        positions=positions,
    )
