"""What a bench found, as it is written with ``--json``: docs/benchmarks.md names the keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.bench.measuring import Cost, Spread
from pipeline.bench.profiling import ProfileFacts


@dataclass(frozen=True, kw_only=True)
class WorkloadFacts:
    """What was scored; tokens of all prompts, and where what they have in common counts once."""

    name: str
    about: str
    size: str
    seed: int
    lists: int
    documents: int
    distinct_documents: int
    reuse: int
    unit_documents: int
    tokens: int
    tokens_shared: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """With which network; parameters of real ones only, operations in 10^9 by formula."""

    name: str
    family: str
    scale: str
    dtype: str
    parameters: int | None
    gflop_per_document: float
    weights: str = "random"


@dataclass(frozen=True, kw_only=True)
class NetworkOnly:
    """The network alone, as a replica of a run has it while other processes encode."""

    documents_per_s: float
    documents_per_cpu_s: float


@dataclass(frozen=True, kw_only=True)
class EngineFigures:
    """What one engine reached in whole passes, texts to scores.

    Attributes:
        name: of the engine.
        about: one line for people.
        wall_s: seconds of a pass by the clock.
        cpu_s: seconds of a pass of CPU, all threads of the process together.
        documents_per_s: by the median pass.
        documents_per_cpu_s: the same by CPU time.
        tokens_per_s: useful tokens, by the median pass.
        padding_waste: share of the tokens that the network worked on and nobody needed; None where
            the engine does not count them.
        stages: median cost of each stage of a pass; empty where the engine has none.
        network_only: speed of the network alone; None where there are no stages.
        device_busy: share of a pass between the first and the last kernel of each unit.
        device_starved: the rest of it.
        peak_rss_bytes: resident set at its highest, weights of all loaded engines in it.
        peak_device_bytes: what a pass allocated on the GPU beyond what was there; 0 on CPU.
    """

    name: str
    about: str
    wall_s: Spread
    cpu_s: Spread
    documents_per_s: float
    documents_per_cpu_s: float
    tokens_per_s: float
    padding_waste: float | None
    stages: dict[str, Cost]
    network_only: NetworkOnly | None
    device_busy: float | None
    device_starved: float | None
    peak_rss_bytes: int
    peak_device_bytes: int


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What the host does around the network, by stage, and the weight of an encoded document."""

    cpu_s_per_1000_documents: dict[str, float]
    object_store_bytes_per_document: float


@dataclass(frozen=True, kw_only=True)
class LoadAverage:
    """Processes that wanted to run in the last 1, 5 and 15 minutes."""

    before: list[float]
    after: list[float]


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """The same lists as a job through Ray.

    Attributes:
        documents_per_s: of the run between its first and its last file.
        engine_documents_per_s: of the engine alone on units as large, on the same device or with
            as many threads.
        ratio: the first over the second.
        device_busy: share of the time from the replica's first unit to the end of its last one in
            which it computed; None where the run does not say.
        starved: the rest of it.
        documents: that the run ranked.
        files: that it wrote.
        first_file_s: seconds from the beginning of the run to its first file, Ray's start among
            them.
        startup_s: seconds until each phase of the start, as in the run's report.
        window_s: seconds between the first and the last of them.
        documents_in_window: of all files but the first.
        run_s: seconds of the whole run, publication among them.
        unit_documents: at most in a unit.
        replica_threads: of torch on the CPU.
    """

    documents_per_s: float
    engine_documents_per_s: float
    ratio: float
    device_busy: float | None
    starved: float | None
    documents: int
    files: int
    first_file_s: float
    startup_s: dict[str, float]
    window_s: float
    documents_in_window: int
    run_s: float
    unit_documents: int
    replica_threads: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What every result holds, of the engine alone or of a comparison.

    Attributes:
        workload: what was scored.
        model: with which network.
        device: cpu or cuda.
        rounds: passes of each engine.
        host: what the host does around the network.
        machine: processor, memory, threads, GPU.
        versions: of this package, Python, and what decides speed.
        load_average: of the machine.
    """

    workload: WorkloadFacts
    model: ModelFacts
    device: str
    rounds: int
    host: HostFacts
    machine: dict[str, Any]
    versions: dict[str, str]
    load_average: LoadAverage


@dataclass(frozen=True, kw_only=True)
class BenchResult:
    """Of the engine alone.

    Attributes:
        facts: what was measured, and on what.
        engine: what it reached.
        end_to_end: through Ray, where asked for.
        profile: where the engine's time goes, where asked for.
    """

    facts: Facts
    engine: EngineFigures
    end_to_end: EndToEnd | None = None
    profile: ProfileFacts | None = None

    def plain(self) -> dict[str, Any]:
        """The same as JSON has it."""
        found = asdict(self.facts) | {"engine": asdict(self.engine)}
        if self.end_to_end is not None:
            found["end_to_end"] = asdict(self.end_to_end)
        if self.profile is not None:
            found["profile"] = asdict(self.profile)
        return found
