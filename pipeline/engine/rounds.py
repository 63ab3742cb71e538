"""One round of a unit on its way: ready for the device, queued on it, and back from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.sequences.ragged import ragged_range

if TYPE_CHECKING:
    import torch

    from pipeline.engine.statistics import Stopwatch
    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.batch import Batch
    from pipeline.sequences.sequences import Sequences


@dataclass(frozen=True, kw_only=True)
class Readouts:
    """What the model said about one unit.

    Attributes:
        values: float32 [R, D]; NaN rows for sequences in :attr:`too_large`.
        too_large: int64, sequences that did not fit in memory even alone.
    """

    values: Floats
    too_large: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PreparedRound:
    """A round that is ready for the device.

    Attributes:
        sequences: all of the round's.
        token_budget: what its batches were cut for.
        pending: leaves of each batch, and the batch itself where it has been sent already; the
            first one last.
    """

    sequences: Sequences
    token_budget: int
    pending: list[tuple[npt.NDArray[np.int64], Batch | None]]


@dataclass(frozen=True, kw_only=True)
class LaunchedRound:
    """A round that is queued on the device.

    Attributes:
        sequences: all of the round's.
        leaves: int64, the sequences whose readouts come back, in their order.
        rows: float32 [r, D] on the host, written by the time that ``watch`` has ended; None where
            nothing could be scored.
        too_large: int64, as in :class:`Readouts`.
        watch: around the work on the device.
    """

    sequences: Sequences
    leaves: npt.NDArray[np.int64]
    rows: torch.Tensor | Floats | None
    too_large: npt.NDArray[np.int64]
    watch: Stopwatch


def not_finite(sequences: Sequences, readouts: Readouts) -> npt.NDArray[np.int64]:
    """int64: sequences with a NaN or infinite readout; those that did not fit are left out."""
    broken = np.flatnonzero(~np.isfinite(readouts.values).all(axis=1))
    places = np.searchsorted(sequences.readout_offsets, broken, side="right") - 1
    return np.setdiff1d(places, readouts.too_large).astype(np.int64)


def to_host(batches: Sequence[torch.Tensor | Floats]) -> torch.Tensor | Floats:
    """Rows of batches, float32 on the host; from a GPU once what is queued there so far has ended.

    The copy is queued with the work, since one that is asked for later would wait for the next
    unit's forward passes as well.
    """
    if isinstance(batches[0], np.ndarray):
        return np.concatenate(batches).astype(np.float32, copy=False)
    import torch

    values = torch.cat(list(batches)).float()  # type: ignore[arg-type]
    if values.device.type != "cuda":
        return values
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def in_order(launched: LaunchedRound) -> Readouts:
    """Readouts in the order of the sequences; NaN where there is none."""
    offsets = launched.sequences.readout_offsets
    total = int(offsets[-1])
    if launched.rows is None:
        values = np.full((total, 1), np.nan, np.float32)
        return Readouts(values=values, too_large=launched.too_large)
    rows = np.asarray(launched.rows)
    values = np.empty((total, rows.shape[1]), dtype=np.float32)
    if len(rows) < total:
        values.fill(np.nan)
    counts = np.diff(offsets)[launched.leaves]
    values[ragged_range(offsets[launched.leaves], counts)] = rows
    return Readouts(values=values, too_large=launched.too_large)
