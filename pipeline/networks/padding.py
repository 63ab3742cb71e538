"""A flat batch as padded tensors, for networks that take a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from pipeline.sequences.batch import Batch


@dataclass(frozen=True)
class Padded:
    """Tensors on the batch's device.

    Attributes:
        input_ids: int64 [b, length], padded on the right.
        attention_mask: int64 [b, length], 1 at tokens.
        segment_ids: int64 [b, length], or None.
        readout_rows: int64 [r], sequence of each readout.
        readout_columns: int64 [r], position of each readout.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    segment_ids: torch.Tensor | None
    readout_rows: torch.Tensor
    readout_columns: torch.Tensor


def pad(batch: Batch, pad_id: int) -> Padded:
    """Pad every sequence of a batch to the longest; one copy to the device per tensor."""
    import torch

    lengths = batch.lengths
    width = int(lengths.max())
    inside = np.arange(width) < lengths[:, None]
    ids = np.full(inside.shape, pad_id, dtype=np.int64)
    ids[inside] = batch.token_ids

    def put(array: npt.NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if batch.device.type == "cuda":
            return tensor.pin_memory().to(batch.device, non_blocking=True)
        return tensor

    segments = None
    if batch.segment_ids is not None:
        types = np.zeros(inside.shape, dtype=np.int64)
        types[inside] = batch.segment_ids
        segments = put(types)
    return Padded(
        input_ids=put(ids),
        attention_mask=put(inside.astype(np.int64)),
        segment_ids=segments,
        readout_rows=put(batch.readout_sequences),
        readout_columns=put(batch.readout_positions.astype(np.int64)),
    )
