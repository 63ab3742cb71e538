"""Where the images of a batch of Qwen2-VL sequences stand, and the positions of all its tokens.

Source: "multimodal rotary position embedding" of the Qwen2-VL report, arXiv:2409.12191, and
``get_rope_index`` of transformers' Qwen2-VL, which derives the same from a search for ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.prompts.qwen2_vl import IMAGE, PLACE

if TYPE_CHECKING:
    from pipeline.prompts.qwen2_vl import Layout
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.batch import Batch


@dataclass(frozen=True)
class Placement:
    """Where images of a batch stand.

    Attributes:
        images: int64 [I], the distinct images of the batch, as places in ``Sequences.images``.
        targets: int64 [v], places in the flat batch [T] that hold image tokens.
        sources: int64 [v], which row of the distinct images' tokens goes there.
        positions: int64 [3, T], temporal, row and column positions.
    """

    images: Int64s
    targets: Int64s
    sources: Int64s
    positions: Int64s


def place_images(batch: Batch, layout: Layout) -> Placement:
    """Where the image tokens of a flat batch go, and the positions of all of its tokens.

    A text token stands at (p, p, p). Token (row, column) of an image that starts at p stands at
    (p, p + row, p + column), and the text after it goes on at p + max(rows, columns). A sequence
    that goes on after another goes on with its positions.

    Links tell of whole prompts: an image that stands before the end of a shared beginning belongs
    to the beginning, where all prompts that share it have it.
    """
    lengths, offsets = batch.lengths, batch.offsets
    parents = np.full(len(lengths), -1) if batch.parents is None else batch.parents
    before = np.where(parents >= 0, lengths[parents], 0)
    prompt = _prompts(batch, parents)
    used, starts = batch.sequences.links[IMAGE][prompt], batch.sequences.links[PLACE][prompt]
    here = (used >= 0) & (starts >= before[:, None]) & (starts < (before + lengths)[:, None])
    distinct = np.unique(used[here])
    grids = [layout.tokens(batch.sequences.images[image]) for image in distinct]
    firsts = np.append(0, np.cumsum([rows * columns for rows, columns in grids])).astype(np.int64)
    positions = np.zeros((3, int(offsets[-1])), dtype=np.int64)
    following = np.zeros(len(lengths), dtype=np.int64)
    targets, sources = [], []
    for row in range(len(lengths)):
        own = positions[:, offsets[row] : offsets[row + 1]]
        own[:] = np.arange(lengths[row]) + (following[parents[row]] if parents[row] >= 0 else 0)
        ends_at = int(own[0, -1]) + 1 if lengths[row] else 0
        for slot in np.flatnonzero(here[row]):
            number = int(np.searchsorted(distinct, used[row, slot]))
            rows, columns = grids[number]
            start, count = int(starts[row, slot] - before[row]), rows * columns
            stop, first = start + count, int(own[0, start])
            own[:, stop:] += max(rows, columns) - count
            ends_at += max(rows, columns) - count
            own[0, start:stop] = first
            own[1, start:stop] = first + np.repeat(np.arange(rows), columns)
            own[2, start:stop] = first + np.tile(np.arange(columns), rows)
            targets.append(offsets[row] + np.arange(start, stop))
            sources.append(np.arange(firsts[number], firsts[number + 1]))
        following[row] = ends_at
    nothing = [np.zeros(0, dtype=np.int64)]
    return Placement(
        images=distinct,
        targets=np.concatenate(targets or nothing),
        sources=np.concatenate(sources or nothing),
        positions=positions,
    )


def _prompts(batch: Batch, parents: Int64s) -> Int64s:
    """int64 [b]: a prompt that each sequence of the batch is of; a beginning is of any of its own.

    Beginnings have no links of their own.
    """
    prompt = batch.chosen.copy()
    leaves = np.flatnonzero(parents >= 0)[::-1]  # the first of each parent is written last
    prompt[parents[leaves]] = batch.chosen[leaves]
    return prompt
