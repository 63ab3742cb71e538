"""The bench of the engine: passes over one workload, and what they say of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pipeline.bench.counting import Counts, count
from pipeline.bench.host import host_costs
from pipeline.bench.inputs.workloads import WORKLOADS, part
from pipeline.bench.machine import load_average, machine, versions
from pipeline.bench.options import UNIT_DOCUMENTS
from pipeline.bench.passes import Passes, Scorer, figures
from pipeline.bench.preparing import Prepared
from pipeline.bench.profiling import ProfileFacts, profile
from pipeline.bench.results import (
    BenchResult,
    EndToEnd,
    EngineFigures,
    Facts,
    HostFacts,
    LoadAverage,
    ModelFacts,
    WorkloadFacts,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


#: Seconds of the network that a profile looks at: some units of a fast one, a list of a slow one.
_PROFILED_S: Final = 0.5


def measure(prepared: Prepared, *, profiled: bool = False) -> BenchResult:
    """Run the rounds and say what was found.

    Args:
        prepared: the bench.
        profiled: also say which kernels or operators the time goes to.
    """
    before = load_average()
    warm_up(prepared.engine, prepared, whole=prepared.subject.device.type == "cuda")
    passes = Passes()
    for _ in range(prepared.options.rounds):
        passes.add(prepared.engine, prepared.units, prepared.subject.device)
    counts = count(prepared)
    reached = figures(
        passes,
        name=prepared.engine.name,
        about=prepared.engine.about,
        documents=prepared.work.documents,
        tokens=counts.tokens,
    )
    return BenchResult(
        facts=facts(prepared, counts, passes.scored[-1].scores, before),
        engine=reached,
        profile=profile_of(prepared, reached) if profiled else None,
        end_to_end=end_to_end(prepared),
    )


def profile_of(prepared: Prepared, reached: EngineFigures) -> ProfileFacts | None:
    """What the engine's time goes to, over half a second of it; None where it has no stages."""
    if reached.network_only is None:
        return None
    documents = round(_PROFILED_S * reached.network_only.documents_per_s)
    return profile(prepared, documents=documents)


def end_to_end(prepared: Prepared) -> EndToEnd | None:
    """The same lists through Ray, where asked for; only then is Ray needed."""
    if not prepared.options.end_to_end:
        return None
    from pipeline.bench.end_to_end import through_ray

    return through_ray(prepared)


def warm_up(scorer: Scorer, prepared: Prepared, *, whole: bool) -> None:
    """Score a list, which warms kernels and caches.

    Our engine on a GPU also prepares for the sizes that it meets, so it scores everything.
    """
    scorer.score(prepared.units if whole else [part(prepared.work.lists, 0, 1)])


def facts(
    prepared: Prepared,
    counts: Counts,
    scores: npt.NDArray[np.float32],
    before: list[float],
    *,
    packages: Sequence[str] = (),
) -> Facts:
    """What every result holds, whoever took part.

    Args:
        prepared: the bench.
        counts: of its workload.
        scores: float32 [N] of the engine, for what the host does with them.
        before: load average before the first round.
        packages: whose versions count beside those that always do.
    """
    return Facts(
        workload=_workload(prepared, counts),
        model=_model(prepared, counts),
        device=prepared.options.device,
        rounds=prepared.options.rounds,
        host=_host(prepared, scores),
        machine=machine(prepared.options.device),
        versions=versions(*packages),
        load_average=LoadAverage(before=before, after=load_average()),
    )


def _workload(prepared: Prepared, counts: Counts) -> WorkloadFacts:
    options, work = prepared.options, prepared.work
    return WorkloadFacts(
        name=options.workload,
        about=WORKLOADS[options.workload].about,
        size=options.size,
        seed=options.seed,
        lists=len(work.lists),
        documents=work.documents,
        distinct_documents=work.distinct,
        reuse=work.reuse,
        unit_documents=options.unit_documents or UNIT_DOCUMENTS,
        tokens=counts.tokens,
        tokens_shared=counts.tokens_shared,
        digest=counts.digest,
    )


def _model(prepared: Prepared, counts: Counts) -> ModelFacts:
    subject = prepared.subject
    return ModelFacts(
        name=subject.shape.name,
        family=subject.shape.family,
        scale=subject.scale,
        dtype=subject.dtype,
        parameters=(subject.shape.parameters or None) if subject.scale == "real" else None,
        gflop_per_document=counts.flops / prepared.work.documents / 1e9,
        weights="random" if subject.shape.model is None else "own",
    )


def _host(prepared: Prepared, scores: npt.NDArray[np.float32]) -> HostFacts:
    host = host_costs(prepared.engine.reranker, prepared.units, scores)
    documents = prepared.work.documents
    return HostFacts(
        cpu_s_per_1000_documents={
            name: 1000 * cost.cpu_s / documents for name, cost in host.stages.items()
        },
        object_store_bytes_per_document=host.bytes_encoded / documents,
    )
