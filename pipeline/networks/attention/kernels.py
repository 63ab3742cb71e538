"""The attention kernels of a GPU, and which of them runs.

Each takes sequences side by side. None is the fastest everywhere: FlashAttention-3 and 4 fill a
Hopper card with wide heads and long sequences, FlashAttention-2 is what stock torch has, and for
encoders with small heads and short sequences a kernel with smaller blocks wins. So the first large
batch of a kind is a trial: every kernel that can take it runs on it, and the fastest is kept for
that kind, FlashAttention-2 unless another is clearly faster. What no kernel can take, and whatever
is not half precision on CUDA, runs by torch's own matrices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from pipeline.networks.attention.libraries import Kernel, flash_2, flash_4, small_blocks
from pipeline.networks.attention.plan import EVERYTHING, Call, Window
from pipeline.networks.attention.runs import by_runs
from pipeline.networks.refusals import out_of_memory, refused

logger = logging.getLogger("pipeline")

#: What the kernels compute in.
_HALF: Final = (torch.bfloat16, torch.float16)

#: Queries that a trial needs: what few of them take says little of a full batch.
_TRIAL: Final = 16_384

#: Timed calls of a kernel in a trial, after one that compiles it.
_CALLS: Final = 3

#: How much faster than the first kernel of the list another must be to be taken.
_CLEARLY: Final = 0.95

#: Heads of so many numbers are narrow.
_NARROW: Final = 64

#: Sequences of two to the power of this are long.
_LONG: Final = 7


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Calls that are alike enough for one kernel to be the best for all.

    Attributes:
        device: of the tensors.
        dtype: of the tensors.
        heads: of queries.
        key_heads: of keys and values.
        dim: of a head.
        window: who sees whom.
        sums: whether the log-sum-exp is asked for.
        queries: of a typical segment, as a power of two.
        keys: likewise.
    """

    device: torch.device
    dtype: torch.dtype
    heads: int
    key_heads: int
    dim: int
    window: Window
    sums: bool
    queries: int
    keys: int

    @property
    def shape(self) -> str:
        """In words, but for lengths."""
        sight = {EVERYTHING: "whole", (-1, 0): "causal"}.get(self.window, "windowed")
        precision = str(self.dtype).removeprefix("torch.")
        return f"{precision} {self.heads}/{self.key_heads} heads of {self.dim}, {sight}"

    def __str__(self) -> str:
        return f"{self.shape}, about {2**self.queries} to {2**self.keys} tokens"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A kernel that may be taken.

    Attributes:
        name: for the log and the run's report.
        load: gives the kernel, or None where this machine lacks it.
        fits: whether it can take a kind of call, and may be the fastest for it.
    """

    name: str
    load: Callable[[], Kernel | None]
    fits: Callable[[Kind], bool]


_CHOSEN: dict[Kind, str] = {}


#: Kernels, by the calls that they refused, of whatever lengths.
_REFUSED: set[tuple[Kernel, Kind]] = set()


def refuse(kernel: Kernel, call: Call, error: Exception) -> None:
    """Ask a kernel for calls like this one no more, and say why."""
    kind = _any_length(_kind(call))
    _REFUSED.add((kernel, kind))
    refused(
        f"{kernel.__name__} for attention of {kind.shape}",
        error,
        instead="another kernel runs there",
    )


def chosen() -> dict[str, str]:
    """The kernel's name by the kind of call, of all trials in this process."""
    return {str(kind): name for kind, name in _CHOSEN.items()}


def kernel_for(call: Call) -> Kernel:
    """The kernel for a call; the first one of a kind that has many queries tries them out.

    Where kernels must give the same bits every time nothing is timed, and the first that fits runs.
    """
    if not call.query.is_cuda or call.query.dtype not in _HALF:
        return by_runs
    kind = _kind(call)
    fitting = [each for each in CANDIDATES if each.fits(kind)]
    able = {
        each.name: kernel
        for each in fitting
        if (kernel := each.load()) is not None and (kernel, _any_length(kind)) not in _REFUSED
    }
    if len(able) < 2 or torch.are_deterministic_algorithms_enabled():
        return next(iter(able.values()), by_runs)
    if _CHOSEN.get(kind) in able:
        return able[_CHOSEN[kind]]
    if call.segments.query_rows.stop - call.segments.query_rows.start < _TRIAL:
        return next(iter(able.values()))
    seconds = {
        name: taken
        for name, kernel in able.items()
        if (taken := _seconds(kernel, call)) is not None
    }
    if not seconds:
        return by_runs
    _CHOSEN[kind] = fastest(seconds)
    told = ", ".join(f"{name} {taken * 1000:.2f} ms" for name, taken in seconds.items())
    logger.info("attention, %s: %s (%s)", kind, _CHOSEN[kind], told)
    return able[_CHOSEN[kind]]


def fastest(seconds: dict[str, float]) -> str:
    """The quickest kernel, or the first one where none is clearly faster than that."""
    first, best = next(iter(seconds)), min(seconds, key=lambda name: seconds[name])
    return best if seconds[best] < _CLEARLY * seconds[first] else first


def _kind(call: Call) -> Kind:
    queries, keys = call.segments.typical
    return Kind(
        device=call.query.device,
        dtype=call.query.dtype,
        heads=call.query.shape[1],
        key_heads=call.key.shape[1],
        dim=call.query.shape[2],
        window=call.window,
        sums=call.sums,
        queries=queries.bit_length() - 1,
        keys=keys.bit_length() - 1,
    )


def _any_length(kind: Kind) -> Kind:
    return replace(kind, queries=0, keys=0)


def _seconds(kernel: Kernel, call: Call) -> float | None:
    """Of one call; None where the kernel refuses it, which is remembered."""
    stream = torch.cuda.current_stream(call.query.device)
    try:
        kernel(call)
        ends: list[Any] = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        ends[0].record(stream)
        for _ in range(_CALLS):
            kernel(call)
        ends[1].record(stream)
        ends[1].synchronize()
    except Exception as error:  # a compiler's or a library's own classes
        if out_of_memory(error):
            raise
        refuse(kernel, call, error)
        return None
    return float(ends[0].elapsed_time(ends[1])) / 1000 / _CALLS


def _flash(kind: Kind) -> bool:
    return kind.dim % 8 == 0 and kind.dim <= 256


def _wide_and_long(kind: Kind) -> bool:
    """Where FlashAttention-4 may win: it takes seconds to compile for each kind of heads.

    On an H100 it was slower by a quarter to a factor of five with heads of 32, and by a tenth to a
    quarter with sequences of about 64 tokens; with heads of 128 and 256 tokens or more it took
    0.29 to 0.73 of FlashAttention-2's time.
    """
    return _flash(kind) and kind.dim > _NARROW and min(kind.queries, kind.keys) >= _LONG


def _encoder(kind: Kind) -> bool:
    return kind.dim <= _NARROW * 2 and kind.window == EVERYTHING and not kind.sums


#: In the order in which they are taken where nothing is timed.
CANDIDATES: Final = (
    Candidate(name="flash-2", load=flash_2, fits=_flash),
    Candidate(name="flash-4", load=flash_4, fits=_wide_and_long),
    Candidate(name="triton", load=small_blocks, fits=_encoder),
)
