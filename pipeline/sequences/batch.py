"""What goes through a network together: some of a unit's sequences, flat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.sequences.arrays import Int32s, Int64s
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some of a unit's sequences, flat, for one forward pass.

    Attributes:
        token_ids: int32 [t].
        offsets: int64 [b + 1].
        segment_ids: int8 [t] or None.
        readout_positions: int32 [r], inside the readout's own sequence.
        readout_sequences: int64 [r], which of the ``b`` sequences each readout is in.
        chosen: int64 [b], the place of each sequence in :attr:`sequences`.
        sequences: the whole unit, for families that need links or images.
        device: where the forward pass runs.
        parents: int64 [b], the place in this batch of the sequence that each goes on after, or -1;
            None where no sequence of the batch has one. Parents come first, then the others, those
            of one parent together.
    """

    token_ids: Int32s
    offsets: Int64s
    segment_ids: npt.NDArray[np.int8] | None
    readout_positions: Int32s
    readout_sequences: Int64s
    chosen: Int64s
    sequences: Sequences
    device: torch.device
    parents: Int64s | None = None

    @property
    def lengths(self) -> Int64s:
        """int64 [b]: tokens of each sequence."""
        return np.diff(self.offsets)
