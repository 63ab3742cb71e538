"""What goes through a network together: some of a unit's sequences, flat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.sequences.arrays import Int32s, Int64s
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class BatchTensors:
    """A batch on its device.

    Attributes:
        token_ids: int64 [t].
        segment_ids: int64 [t] or None.
        lengths: int64 [b], tokens of each sequence.
        ends: int64 [b], the place in ``token_ids`` where each sequence ends.
        shifts: int64 [b], what to add to a token's place in ``token_ids`` to have its position: the
            first of a sequence without a parent has 0, others go on where their parent ends.
        readout_rows: int64 [r], the place in ``token_ids`` of each readout.
    """

    token_ids: torch.Tensor
    segment_ids: torch.Tensor | None
    lengths: torch.Tensor
    ends: torch.Tensor
    shifts: torch.Tensor
    readout_rows: torch.Tensor


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

    def send(self) -> None:
        """Begin the copy to the device, which is else begun by whoever asks for the tensors."""
        _ = self.tensors

    @cached_property
    def tensors(self) -> BatchTensors:
        """The batch on its device: one copy of four bytes a token, begun here and not waited for.

        Everything is written once, into memory that the device can read by itself, and widened to
        int64 there, where that costs nothing.
        """
        import torch

        lengths, starts = self.lengths, self.offsets[:-1]
        shifts = -starts
        if self.parents is not None:
            shifts = shifts + np.where(self.parents >= 0, lengths[self.parents], 0)
        rows = starts[self.readout_sequences] + self.readout_positions
        numbers: list[npt.NDArray[Any]] = [self.token_ids, lengths, self.offsets[1:], shifts, rows]
        sizes = [len(array) for array in numbers]
        wide, narrow = 4 * sum(sizes), 0 if self.segment_ids is None else len(self.segment_ids)
        on_gpu = self.device.type == "cuda"
        host = torch.empty(wide + narrow, dtype=torch.uint8, pin_memory=on_gpu)
        written = host.numpy()
        np.concatenate(numbers, out=written[:wide].view(np.int32), casting="unsafe")
        if self.segment_ids is not None:
            written[wide:].view(np.int8)[:] = self.segment_ids
        there = host.to(self.device, non_blocking=on_gpu)
        ids, counts, ends, shift, read = torch.split(there[:wide].view(torch.int32).long(), sizes)
        return BatchTensors(
            token_ids=ids,
            segment_ids=None if self.segment_ids is None else there[wide:].view(torch.int8).long(),
            lengths=counts,
            ends=ends,
            shifts=shift,
            readout_rows=read,
        )
