"""Sequences that are read at their last token, but for one that may stand behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.sequences.sequences import Sequences


def read_before(sequences: Sequences, token: int) -> Sequences:
    """Each sequence read at its last token that is not ``token``, or else at its first.

    Args:
        sequences: read out once each, at their last token; beginnings may be shared.
        token: an id.

    Returns:
        The same; beginnings are written out where one of them would have to be read.
    """
    leaves = sequences.leaves
    stop = sequences.offsets[leaves]
    if not (sequences.token_ids[sequences.offsets[1 : leaves + 1] - 1] == token).any():
        return sequences
    starts = sequences.offsets[:leaves]
    places = np.arange(stop) - np.repeat(starts, sequences.lengths[:leaves])
    found = np.where(sequences.token_ids[:stop] == token, -1, places)
    last = np.maximum.reduceat(found, starts)
    if sequences.parents is not None and (last < 0).any():
        return read_before(sequences.unshared(), token)
    return replace(sequences, readout_positions=np.maximum(last, 0).astype(np.int32))
