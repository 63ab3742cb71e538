"""One bench: contenders score the same lists by turns in one process, and are compared in pairs."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import schema
from pipeline.benchmarking.agreement import agreement
from pipeline.benchmarking.contender import Contender, Scored
from pipeline.benchmarking.engines import FORWARD
from pipeline.benchmarking.flops import image_flops, text_flops
from pipeline.benchmarking.host import host_costs
from pipeline.benchmarking.machine import load_average, machine, versions
from pipeline.benchmarking.measuring import Cost, Memory, Spread, memory, paired, turns
from pipeline.benchmarking.peaks import Peak, matmul_peak
from pipeline.benchmarking.preparing import PAGES, Prepared
from pipeline.benchmarking.workloads import WORKLOADS, digest, part
from pipeline.candidates.lists import CandidateLists

if TYPE_CHECKING:
    import torch

#: Largest difference of two scores for which speeds are compared, by precision.
TOLERANCE: Final = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(kw_only=True)
class _Record:
    """The rounds of one contender."""

    contender: Contender
    passes: list[Scored] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)


def measure(prepared: Prepared) -> dict[str, Any]:
    """Run the rounds and say what was found, as plain data; see docs/benchmarks.md for its keys."""
    bench, work, device = prepared.bench, prepared.work, prepared.subject.device
    records = {each.name: _Record(contender=each) for each in (prepared.base, *prepared.others)}
    before = load_average()
    for record in records.values():
        # One list warms kernels and caches; our engine on a GPU also prepares for sizes it meets.
        whole = device.type == "cuda" and record.contender.ours
        record.contender.score(prepared.units if whole else [part(work.lists, 0, 1)])
    peaks: list[Peak] = []
    for number, name in turns(list(records), bench.rounds):
        if len(peaks) == number:
            peaks.append(matmul_peak(device))
        _pass(records[name], prepared.units, device)
    return _result(prepared, records, peaks, before)


def _pass(record: _Record, units: Sequence[CandidateLists], device: torch.device) -> None:
    gc.collect()
    cost = Cost()
    with memory(device) as peak, cost.adding():
        scored = record.contender.score(units)
    record.passes.append(scored)
    record.costs.append(cost)
    record.memories.append(peak)


def _result(
    prepared: Prepared, records: dict[str, _Record], peaks: list[Peak], before: list[float]
) -> dict[str, Any]:
    bench, subject, work, base = (
        prepared.bench, prepared.subject, prepared.work, prepared.base,
    )  # fmt: skip
    encoded = [base.reranker.encode(lists) for lists in prepared.units]
    whole = [unit.unshared() for unit in encoded]
    tokens = sum(int(unit.lengths.sum()) for unit in whole)
    peak = Peak(
        per_second=float(np.median([each.per_second for each in peaks])),
        per_cpu_second=float(np.median([each.per_cpu_second for each in peaks])),
    )
    config = subject.shape.config_of(subject.scale)
    naive = sum(text_flops(config, unit) for unit in whole)
    shared = sum(text_flops(config, unit) for unit in encoded)
    naive += _page_flops(config, prepared, distinct=False)
    shared += _page_flops(config, prepared, distinct=True)
    flops = {True: shared, False: naive}
    scores = {name: record.passes[-1].scores for name, record in records.items()}
    tolerance = TOLERANCE[subject.dtype]
    compared = {
        name: agreement(scores[base.name], scores[name], work.lists.offsets).most <= tolerance
        for name in records
    }
    host = host_costs(base.reranker, prepared.units, scores[base.name])
    return {
        "workload": {
            "name": bench.workload,
            "about": WORKLOADS[bench.workload].about,
            "size": bench.size,
            "seed": bench.seed,
            "lists": len(work.lists),
            "documents": work.documents,
            "distinct_documents": work.distinct,
            "reuse": work.reuse,
            "unit_documents": bench.unit_documents,
            "tokens": tokens,
            "tokens_shared": sum(int(unit.lengths.sum()) for unit in encoded),
            "digest": digest(encoded),
        },
        "model": {
            "name": subject.shape.name,
            "family": subject.shape.family,
            "scale": subject.scale,
            "weights": "random",
            "dtype": subject.dtype,
            "parameters": subject.shape.parameters if subject.scale == "real" else None,
            "gflop_per_document": naive / work.documents / 1e9,
        },
        "device": bench.device,
        "rounds": bench.rounds,
        "peak": {
            "flop_per_s": peak.per_second,
            "flop_per_cpu_s": peak.per_cpu_second or None,
            "product": "8192^3 bfloat16" if bench.device == "cuda" else "2048^3 float32",
        },
        "base": base.name,
        "contenders": [
            _figures(record, work.documents, tokens, flops, peak) for record in records.values()
        ],
        "ratios": [
            _ratios(records[base.name], record)
            for name, record in records.items()
            if name != base.name and compared[name]
        ],
        "tolerance": tolerance,
        "not_compared": [name for name, close in compared.items() if not close],
        "agreement": _agreements(scores, work.lists.offsets),
        "host": {
            "cpu_s_per_1000_documents": {
                name: 1000 * cost.cpu_s / work.documents for name, cost in host.stages.items()
            },
            "object_store_bytes_per_document": host.bytes_encoded / work.documents,
        },
        "machine": machine(bench.device),
        "versions": versions(),
        "load_average": {"before": before, "after": load_average()},
    }


def _page_flops(config: dict[str, Any], prepared: Prepared, *, distinct: bool) -> float:
    """Operations for the pages: once for every candidate, or once for each of a unit."""
    if schema.IMAGE not in prepared.work.lists.documents.column_names:
        return 0.0
    rows, columns = PAGES[prepared.subject.scale][0]
    images = sum(
        len(unit.documents.column(schema.IMAGE).unique()) if distinct else unit.documents.num_rows
        for unit in prepared.units
    )
    return image_flops(config, patches=4 * rows * columns, images=images)


def _figures(
    record: _Record, documents: int, tokens: int, flops: dict[bool, float], peak: Peak
) -> dict[str, Any]:
    """What one contender reached; speeds by the median round."""
    contender, last = record.contender, record.passes[-1]
    wall = Spread.of([cost.wall_s for cost in record.costs])
    cpu = Spread.of([cost.cpu_s for cost in record.costs])
    useful = flops[contender.shares]
    stages = {
        name: Cost(
            wall_s=float(np.median([each.stages[name].wall_s for each in record.passes])),
            cpu_s=float(np.median([each.stages[name].cpu_s for each in record.passes])),
        )
        for name in last.stages
    }
    network = stages.get(FORWARD)
    needed = last.tokens if last.tokens is not None else tokens
    return {
        "name": contender.name,
        "about": contender.about,
        "ours": contender.ours,
        "wall_s": asdict(wall),
        "cpu_s": asdict(cpu),
        "documents_per_s": documents / wall.median,
        "documents_per_cpu_s": documents / cpu.median,
        "tokens_per_s": tokens / wall.median,
        "mfu": useful / wall.median / peak.per_second,
        "mfu_cpu": useful / cpu.median / peak.per_cpu_second if peak.per_cpu_second else None,
        "padding_waste": 1 - needed / last.computed if last.computed else None,
        "stages": {name: asdict(cost) for name, cost in stages.items()},
        "network_only": network
        and {
            "documents_per_s": documents / network.wall_s,
            "documents_per_cpu_s": documents / network.cpu_s,
            "mfu": useful / network.wall_s / peak.per_second,
            "mfu_cpu": (
                useful / network.cpu_s / peak.per_cpu_second if peak.per_cpu_second else None
            ),
        },
        **_device_shares(record),
        "peak_rss_bytes": max(each.rss for each in record.memories),
        "peak_device_bytes": max(each.device for each in record.memories),
    }


def _device_shares(record: _Record) -> dict[str, float | None]:
    """Share of a pass between the first and the last kernel of a unit, and the rest of it.

    Contenders encode and compute by turns here, so the rest is what encoding beside the device
    saves a run.
    """
    if not record.passes[-1].device_s:
        return {"device_busy": None, "device_starved": None}
    busy = float(
        np.median(
            [
                each.device_s / cost.wall_s
                for each, cost in zip(record.passes, record.costs, strict=True)
            ]
        )
    )
    return {"device_busy": busy, "device_starved": 1 - busy}


def _ratios(base: _Record, other: _Record) -> dict[str, Any]:
    """How many times the base's time the other took; null where there were too few rounds."""

    def spread(ours: list[float], theirs: list[float]) -> dict[str, float] | None:
        found = paired(ours, theirs)
        return None if found is None else asdict(found)

    walls = [cost.wall_s for cost in other.costs]
    network = [each.stages[FORWARD].wall_s for each in base.passes]
    return {
        "name": other.contender.name,
        "wall": spread([cost.wall_s for cost in base.costs], walls),
        "cpu": spread([cost.cpu_s for cost in base.costs], [cost.cpu_s for cost in other.costs]),
        "wall_to_network_only": spread(network, walls),
    }


def _agreements(
    scores: dict[str, npt.NDArray[np.float32]], offsets: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    names = list(scores)
    found = []
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            pair = agreement(scores[first], scores[second], offsets)
            most = pair.most if np.isfinite(pair.most) else None  # JSON has no infinity
            found.append({"first": first, "second": second} | asdict(pair) | {"most": most})
    return found
