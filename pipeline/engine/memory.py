"""How many tokens fit: measured once at start on the GPU, fixed on the CPU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.engine.device import DEFAULT_TOKEN_BUDGET
from pipeline.engine.packing import gather
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

    from pipeline.rerankers.base import Reranker

logger = logging.getLogger("pipeline")

#: Tokens of the two trial batches; their difference cancels what does not grow with tokens.
_TRIALS: Final = (4_096, 16_384)

#: Tokens of each trial sequence: attention's memory is linear in tokens, so any length serves.
_LENGTH: Final = 256

#: Beyond this a larger batch is no faster, and out-of-memory costs more.
_MOST: Final = 524_288


def token_budget(reranker: Reranker, device: torch.device, *, memory_fraction: float) -> int:
    """Tokens per forward pass that stay within a share of the device's memory.

    On CPU the default, which is chosen for the caches. On CUDA two trial batches of different size
    are run; the memory they take per token, divided into what is free now, gives the budget.
    """
    default = DEFAULT_TOKEN_BUDGET[device.type]
    if device.type != "cuda":
        return default
    import torch

    try:
        peaks = [_peak(reranker, tokens, device) for tokens in _TRIALS]
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return _TRIALS[0]
    free, whole = torch.cuda.mem_get_info(device)
    kept = whole - free  # weights, and whatever else lives on this device
    room = int(whole * memory_fraction) - kept
    budget = budget_for(peaks, room=room)
    logger.info("token budget %s: %.0f MiB free on %s", f"{budget:,}", free / 2**20, device)
    return budget


def budget_for(peaks: list[int], *, room: int) -> int:
    """Tokens that fit in ``room`` bytes, by the peak bytes of the two trial batches."""
    per_token = (peaks[1] - peaks[0]) / (_TRIALS[1] - _TRIALS[0])
    if per_token <= 0:
        return DEFAULT_TOKEN_BUDGET["cuda"]
    fits = int(room / per_token)
    return max(_TRIALS[0], min(_MOST, fits - fits % 1_024))


def _peak(reranker: Reranker, tokens: int, device: torch.device) -> int:
    """Bytes that a trial batch takes at most, beyond what was there before."""
    import torch

    count = tokens // _LENGTH
    sequences = Sequences.one_readout_each(
        np.ones(count * _LENGTH, dtype=np.int32),
        np.arange(count + 1, dtype=np.int64) * _LENGTH,
        positions=np.full(count, _LENGTH - 1, dtype=np.int32),
    )
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        reranker.forward(gather(sequences, np.arange(count), device))
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before
