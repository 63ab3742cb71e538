"""Tokens per forward pass: on the GPU the fewest that are as fast as any and fit, found at start.

Small batches leave a GPU waiting for the host between them, and very large ones are no faster: they
only take memory, and out-of-memory costs more. Where the gain ends depends on the network and on
the machine (measured on an H100: at 16,384 tokens for jina-reranker-v3, at 131,072 for MiniLM-L6),
so batches of rising size are timed. On the CPU the budget is fixed, for the caches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.engine.device import DEFAULT_TOKEN_BUDGET
from pipeline.engine.packing import gather
from pipeline.networks.refusals import out_of_memory
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

    from pipeline.rerankers.base import Reranker

logger = logging.getLogger("pipeline")

#: Tokens of the two batches whose memory is measured; their difference cancels what does not grow
#: with tokens.
_MEASURED: Final = (4_096, 16_384)

#: Tokens of the batches that are timed, each twice the one before.
_TIMED: Final = (16_384, 32_768, 65_536, 131_072, 262_144, 524_288)

#: Tokens of each trial sequence, about those of a query with a passage.
_LENGTH: Final = 128

#: Batches that are timed together.
_BATCHES: Final = 3

#: A budget is as fast as the fastest where it reaches this share of its rate.
_AS_FAST: Final = 0.97

#: Sizes in a row that are no faster, after which no larger one is tried.
_NO_FASTER: Final = 2

#: Seconds after which no further size is tried: networks that are so slow keep a GPU busy with
#: small batches.
_PATIENCE_S: Final = 0.6


@dataclass(frozen=True)
class Trial:
    """One size that was timed.

    Attributes:
        tokens: of the batch.
        seconds: that it took, the host's share of the work among them.
    """

    tokens: int
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def token_budget(reranker: Reranker, device: torch.device, *, memory_fraction: float) -> int:
    """Tokens per forward pass: the fewest that are about as fast as any within a share of memory.

    On CPU the default. On CUDA two trial batches show what a token takes, which bounds the budget;
    then batches of rising size are timed within that bound, well under a second in all for a small
    network. Replicas may differ: scores do not depend on the budget beyond float noise.
    """
    default = DEFAULT_TOKEN_BUDGET[device.type]
    if device.type != "cuda":
        return default
    import torch

    try:
        peaks = [_peak(reranker, tokens, device) for tokens in _MEASURED]
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        return _MEASURED[0]
    torch.cuda.empty_cache()  # what trials and earlier engines left behind is free
    free, whole = torch.cuda.mem_get_info(device)
    kept = whole - free  # weights, and whatever else lives on this device
    most = budget_for(peaks, room=int(whole * memory_fraction) - kept)
    trials = _timed(reranker, device, most=most)
    torch.cuda.empty_cache()  # what the largest one took may be another replica's
    budget = fastest(trials) if trials else most
    logger.info(
        "token budget %s of at most %s that fit on %s; tokens/s by size: %s",
        f"{budget:,}",
        f"{most:,}",
        device,
        ", ".join(f"{trial.tokens:,}: {trial.rate:,.0f}" for trial in trials) or "not timed",
    )
    return budget


def budget_for(peaks: Sequence[int], *, room: int) -> int:
    """Tokens that fit in ``room`` bytes, by the peak bytes of the two measured batches."""
    per_token = (peaks[1] - peaks[0]) / (_MEASURED[1] - _MEASURED[0])
    if per_token <= 0:
        return DEFAULT_TOKEN_BUDGET["cuda"]
    fits = int(room / per_token)
    return max(_MEASURED[0], min(_TIMED[-1], fits - fits % 1_024))


def fastest(trials: Sequence[Trial]) -> int:
    """Tokens of the smallest trial whose rate is within a few percent of the best one's.

    Args:
        trials: at least one, in rising order.
    """
    best = max(trial.rate for trial in trials)
    return next(trial.tokens for trial in trials if trial.rate >= _AS_FAST * best)


def settled(trials: Sequence[Trial]) -> bool:
    """Whether the last sizes were so little faster than a smaller one that no larger one will be.

    Args:
        trials: in rising order.
    """
    earlier, last = trials[:-_NO_FASTER], trials[-_NO_FASTER:]
    if not earlier:
        return False
    best = max(trial.rate for trial in earlier)
    return all(_AS_FAST * trial.rate <= best for trial in last)


def _timed(reranker: Reranker, device: torch.device, *, most: int) -> list[Trial]:
    """Batches of rising size up to ``most`` tokens, until a larger one gains nothing."""
    trials: list[Trial] = []
    began = time.perf_counter()
    for tokens in _TIMED:
        if tokens > most or settled(trials) or time.perf_counter() - began > _PATIENCE_S:
            break
        try:
            _seconds(reranker, tokens, device, batches=1)  # finds memory and kernels
            passes = [_seconds(reranker, tokens, device, batches=_BATCHES) for _ in range(2)]
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            break  # somebody else on this device took what was free
        trials.append(Trial(tokens, min(passes)))
    return trials


def _seconds(reranker: Reranker, tokens: int, device: torch.device, *, batches: int) -> float:
    """Seconds of one of some batches from the host's memory to their readouts.

    They are queued one behind the other as in a unit, where the host makes the next one ready
    while the device computes.
    """
    import torch

    sequences = _sequences(tokens)
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    with torch.inference_mode():
        for _ in range(batches):
            reranker.forward(gather(sequences, np.arange(len(sequences)), device))
    torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / batches


def _peak(reranker: Reranker, tokens: int, device: torch.device) -> int:
    """Bytes that a trial batch takes at most, beyond what was there before."""
    import torch

    sequences = _sequences(tokens)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        reranker.forward(gather(sequences, np.arange(len(sequences)), device))
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before


def _sequences(tokens: int) -> Sequences:
    """Sequences of one length and of ``tokens`` tokens in all, each read out at its last one."""
    count = tokens // _LENGTH
    return Sequences.one_readout_each(
        np.ones(count * _LENGTH, dtype=np.int32),
        np.arange(count + 1, dtype=np.int64) * _LENGTH,
        positions=np.full(count, _LENGTH - 1, dtype=np.int32),
    )
