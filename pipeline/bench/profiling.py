"""Where the time of the engine goes: kernels and idle time on a GPU, operators on a CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.bench.inputs.workloads import part
from pipeline.bench.kernels import (
    DeviceTime,
    KernelRow,
    Span,
    device_time,
    rows,
    rows_of_spans,
)
from pipeline.bench.options import UNIT_DOCUMENTS

if TYPE_CHECKING:
    from pipeline.bench.preparing import Prepared
    from pipeline.candidates.lists import CandidateLists


@dataclass(frozen=True, kw_only=True)
class ProfileFacts:
    """Of the engine over the first lists of a workload, encoded before.

    Attributes:
        units: that were scored.
        documents: in them.
        tokens: of their prompts, what these have in common once where the engine shares it.
        wall_s: that they take without a profiler.
        profiled_wall_s: with it.
        kernel_s: of all kernels together, or of all operators without what they call.
        device: how the GPU spent its time, under the profiler; None on CPU.
        kernels: by the seconds that they took.
    """

    units: int
    documents: int
    tokens: int
    wall_s: float
    profiled_wall_s: float
    kernel_s: float
    device: DeviceTime | None
    kernels: list[KernelRow]


def profile(prepared: Prepared, *, documents: int) -> ProfileFacts:
    """Score the first lists of the workload under torch's profiler, in the units of a pass.

    On a GPU only what runs there is recorded, since recording operators as well slows the host that
    queues them. https://docs.pytorch.org/docs/stable/profiler.html

    Args:
        prepared: the bench, its engine warm.
        documents: about so many, in whole lists; one list at least.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    engine, reranker = prepared.engine.engine, prepared.engine.reranker
    units = _first(prepared, documents)
    encoded = [(lists, reranker.encode(lists)) for lists in units]

    def scored() -> float:
        started = time.perf_counter()
        for lists, sequences in encoded:
            engine.run(lists, sequences)
        return time.perf_counter() - started

    wall_s = min(scored(), scored())
    on_gpu = prepared.options.device == "cuda"
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    if on_gpu:
        with recorded(activities=activities):  # starts the GPU's own recording, which takes long
            engine.run(*encoded[0])
    with recorded(activities=activities) as found:
        profiled_wall_s = scored()
    spans = _spans(found) if on_gpu else None
    table = rows(_operators(found)) if spans is None else rows_of_spans(spans)
    return ProfileFacts(
        units=len(units),
        documents=sum(lists.documents.num_rows for lists in units),
        tokens=sum(
            int((sequences if engine.share_prefixes else sequences.unshared()).lengths.sum())
            for _, sequences in encoded
        ),
        wall_s=wall_s,
        profiled_wall_s=profiled_wall_s,
        kernel_s=sum(row.seconds for row in table),
        device=None if spans is None else device_time(spans),
        kernels=table,
    )


def _first(prepared: Prepared, documents: int) -> list[CandidateLists]:
    """The first lists that hold about so many documents, cut into units."""
    work = prepared.work
    count = max(1, int(np.searchsorted(work.lists.offsets, documents, side="right")) - 1)
    few = replace(work, lists=part(work.lists, 0, min(count, len(work.lists))))
    return list(few.units(prepared.options.unit_documents or UNIT_DOCUMENTS))


def _spans(found: Any) -> list[Span]:
    """What ran on the GPU; ranges that the host named there are no kernels."""
    return [
        Span(
            name=event.name,
            start_s=event.time_range.start / 1e6,
            stop_s=event.time_range.end / 1e6,
        )
        for event in found.events()
        if event.device_type.name == "CUDA" and not event.is_user_annotation
    ]


def _operators(found: Any) -> list[tuple[str, float, int]]:
    """Operators with their own seconds, and how often each was called."""
    return [
        (event.key, event.self_cpu_time_total / 1e6, event.count) for event in found.key_averages()
    ]
