"""One comparison: contenders score the same lists by turns in one process, and in pairs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.harness.contender import Contender
from benchmarks.harness.peaks import PRODUCTS, Peak, matmul_peak
from benchmarks.harness.preparing import PreparedComparison
from benchmarks.harness.results import (
    ComparisonResult,
    ContenderFigures,
    PairAgreement,
    PeakFacts,
    Ratio,
    Utilisation,
)
from benchmarks.harness.rounds import paired, turns
from pipeline.bench.counting import Counts, count
from pipeline.bench.engines import FORWARD, BenchEngine
from pipeline.bench.machine import load_average
from pipeline.bench.passes import Passes, figures
from pipeline.bench.run import end_to_end, facts, warm_up
from pipeline.ranking.agreement import agreement

#: Largest difference of two scores for which speeds are compared, by precision.
TOLERANCE: Final = {
    "float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2, "int8": 2e-1, "float8": 2e-1,
}  # fmt: skip

#: Whose versions count beside those that always do.
_PACKAGES: Final = ("sentence-transformers", "onnxruntime", "openvino", "nncf")

Floats = npt.NDArray[np.float32]


@dataclass(kw_only=True)
class _Record:
    """The rounds of one contender."""

    contender: Contender
    passes: Passes = field(default_factory=Passes)

    @property
    def ours(self) -> bool:
        return isinstance(self.contender, BenchEngine)

    @property
    def scores(self) -> Floats:
        return self.passes.scored[-1].scores


def measure(
    prepared: PreparedComparison, *, until: float | None = None, runs: bool = True
) -> ComparisonResult:
    """Run the rounds and say what was found.

    Args:
        prepared: the comparison.
        until: a time of :func:`time.monotonic` after which no further round begins; the first one
            always does.
        runs: whether the run through Ray, where it is asked for, is done as well.
    """
    base, device = prepared.base, prepared.base.subject.device
    contenders: list[Contender] = [base.engine, *prepared.others]
    records = {each.name: _Record(contender=each) for each in contenders}
    before = load_average()
    for record in records.values():
        warm_up(record.contender, base, whole=device.type == "cuda" and record.ours)
    peaks: list[Peak] = []
    for number, name in turns(list(records), base.options.rounds):
        if len(peaks) == number:
            if number and until is not None and time.monotonic() > until:
                break
            peaks.append(matmul_peak(device))
        records[name].passes.add(records[name].contender, base.units, device)
    found = _result(prepared, records, Peak.median(peaks), before)
    return replace(found, end_to_end=end_to_end(base)) if runs else found


def _result(
    prepared: PreparedComparison, records: dict[str, _Record], peak: Peak, before: list[float]
) -> ComparisonResult:
    base = prepared.base
    own, offsets = records[base.engine.name], base.work.lists.offsets
    counts = count(base)
    tolerance = TOLERANCE[base.subject.dtype]
    apart = {
        name
        for name, record in records.items()
        if agreement(own.scores, record.scores, offsets).most
        > max(tolerance, TOLERANCE[record.contender.precision or base.subject.dtype])
    }
    documents = base.work.documents
    return ComparisonResult(
        facts=replace(
            facts(base, counts, own.scores, before, packages=_PACKAGES),
            rounds=len(own.passes.costs),
        ),
        peak=PeakFacts(
            flop_per_s=peak.per_second,
            flop_per_cpu_s=peak.per_cpu_second or None,
            product=PRODUCTS[base.options.device],
        ),
        base=base.engine.name,
        contenders=[_figures(each, documents, counts, peak) for each in records.values()],
        ratios=[
            _ratio(own, record)
            for name, record in records.items()
            if record is not own and name not in apart
        ],
        tolerance=tolerance,
        not_compared=[name for name in records if name in apart],
        agreement=_agreements({name: each.scores for name, each in records.items()}, offsets),
    )


def _figures(record: _Record, documents: int, counts: Counts, peak: Peak) -> ContenderFigures:
    """What one contender reached, and how much of the machine's peak that is."""
    contender = record.contender
    own = figures(
        record.passes,
        name=contender.name,
        about=contender.about,
        documents=documents,
        tokens=counts.tokens,
    )
    useful = counts.flops_shared if contender.shares else counts.flops
    network = own.stages.get(FORWARD)
    return ContenderFigures(
        figures=own,
        ours=record.ours,
        utilisation=_utilisation(useful, own.wall_s.median, own.cpu_s.median, peak),
        network_only=None
        if network is None
        else _utilisation(useful, network.wall_s, network.cpu_s, peak),
    )


def _utilisation(flops: float, wall_s: float, cpu_s: float, peak: Peak) -> Utilisation:
    by_cpu = flops / cpu_s / peak.per_cpu_second if peak.per_cpu_second else None
    return Utilisation(mfu=flops / wall_s / peak.per_second, mfu_cpu=by_cpu)


def _ratio(base: _Record, other: _Record) -> Ratio:
    ours, theirs = base.passes, other.passes
    walls = [cost.wall_s for cost in theirs.costs]
    return Ratio(
        name=other.contender.name,
        wall=paired([cost.wall_s for cost in ours.costs], walls),
        cpu=paired([cost.cpu_s for cost in ours.costs], [cost.cpu_s for cost in theirs.costs]),
        wall_to_network_only=paired([each.stages[FORWARD].wall_s for each in ours.scored], walls),
    )


def _agreements(scores: dict[str, Floats], offsets: npt.NDArray[np.int64]) -> list[PairAgreement]:
    found = []
    for first, second in combinations(scores, 2):
        pair = asdict(agreement(scores[first], scores[second], offsets))
        if not np.isfinite(pair["most"]):
            pair["most"] = None  # JSON has no infinity
        found.append(PairAgreement(first=first, second=second, **pair))
    return found
