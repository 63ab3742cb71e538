"""The settings of a job, one frozen model per section of ``conf/rerank.yaml``.

Defaults are resolved here and only here. Descriptions are the documentation: the settings table in
``docs/settings.md`` is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import Settings
from pipeline.config.input import InputConfig
from pipeline.config.limits import LimitsConfig
from pipeline.config.metrics import MetricsConfig
from pipeline.config.model import ModelConfig
from pipeline.config.output import OutputConfig
from pipeline.config.placement import RayConfig, ReplicasConfig
from pipeline.config.report import ReportConfig


class UnitsConfig(Settings):
    """How the input is cut into units, the grain of work, retry and resume."""

    documents: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="Documents per unit; a unit holds whole queries, so it may exceed. auto: what "
        "takes a GPU one to two seconds or a CPU ten to thirty, by the model's size and a sample "
        "of the texts; at most 100,000 documents and 256 MiB, and an eighth of it to begin with.",
    )
    time_limit_s: float = Field(
        3_600.0,
        gt=0,
        description="Seconds that a unit may spend in one stage before its worker is taken for "
        "hung and killed; two units in one replica have the time of both.",
    )


class EngineConfig(Settings):
    """How sequences become batches on the device."""

    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "float8"] = Field(
        "auto",
        description="auto: bfloat16 on GPU, float32 on CPU. int8 (CPU) and float8 (GPU of compute "
        "capability 8.9 or later) quantise the weights and inputs of linear layers. Heads always "
        "run in float32.",
    )
    min_overlap: float = Field(
        0.9,
        ge=0,
        le=1,
        description="With int8 and float8, the share of each list's best documents that float32 "
        "(on GPU bfloat16) must also name, in a sample of the first unit of each replica; a run "
        "below it is refused. 0 refuses nothing.",
    )
    token_budget: int | None = Field(
        None,
        ge=1,
        description="Tokens per forward pass; default: on CPU what suits its caches, on GPU the "
        "fewest that are as fast as any within memory_fraction, timed when the replica starts.",
    )
    memory_fraction: float = Field(
        0.85, gt=0, le=1, description="Share of a GPU's memory that a replica may fill."
    )
    packing: Literal["auto", "packed", "padded"] = Field(
        "auto",
        description="packed: sequences of different lengths side by side, nothing wasted; padded: "
        "matrices from a sorted list; auto: packed where the family and the device can.",
    )
    share_prefixes: bool = Field(
        True,
        description="Compute what the prompts of a unit have in common once, where the family can.",
    )
    deterministic: bool = Field(
        False,
        description="The same bits from every rerun on the same hardware: a fixed token budget "
        "that out-of-memory does not change, and deterministic kernels only.",
    )


class QuarantineConfig(Settings):
    """What happens to candidates that cannot be scored."""

    max_error_rate: float = Field(
        0.01, ge=0, le=1, description="Share of quarantined candidates past which the run fails."
    )
    max_unit_error_rate: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The same for a single unit, which fails the run at once; never below "
        "max_error_rate.",
    )
    max_crashes: int = Field(
        10,
        ge=1,
        description="Failures of workers (killed, crashed, hung, raised) with no unit finished in "
        "between, past which the run stops.",
    )


class LeaseConfig(Settings):
    """Who drives a run: one driver at a time, and how it hands over."""

    ttl_s: float = Field(
        30.0,
        gt=0,
        description="Seconds of silence after which another driver may take the run over.",
    )
    grace_s: float = Field(
        25.0,
        ge=0,
        description="Seconds after SIGTERM in which units at work may finish before they are left.",
    )
    unsafe_store: Literal["refuse", "single_driver"] = Field(
        "refuse",
        description="What to do on a store without conditional writes: refuse, or run without a "
        "lease, in which case two drivers at once spoil the run.",
    )


class StorageConfig(Settings):
    """How patient a run is with the stores that it reads from and writes to."""

    attempts: int = Field(10, ge=1, description="How often a request is sent at most.")
    backoff_s: float = Field(
        0.2, gt=0, description="Seconds before the second attempt; doubles, up to 20, with jitter."
    )
    stall_s: float = Field(
        30.0,
        gt=0,
        description="Seconds that a transfer may be slower than min_bytes_per_s, or an answer be "
        "waited for, before it is tried anew.",
    )
    min_bytes_per_s: int = Field(64_000, ge=1, description="Slowest transfer that is waited for.")
    give_up_s: float = Field(
        600.0, gt=0, description="Seconds after which a request that keeps failing fails the run."
    )


class ProgressConfig(Settings):
    """How a run reports what it does."""

    interval_s: float = Field(
        10.0,
        gt=0,
        description="Seconds between lines of the log where progress is not drawn on a terminal; "
        "the first batch, and what is waited for, are told of at once.",
    )


class JobConfig(Settings):
    """One reranking job: the root of ``conf/rerank.yaml``."""

    model: ModelConfig
    input: InputConfig
    output: OutputConfig
    units: UnitsConfig = UnitsConfig()
    engine: EngineConfig = EngineConfig()
    replicas: ReplicasConfig = ReplicasConfig()
    ray: RayConfig = RayConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    lease: LeaseConfig = LeaseConfig()
    storage: StorageConfig = StorageConfig()
    limits: LimitsConfig = LimitsConfig()
    progress: ProgressConfig = ProgressConfig()
    metrics: MetricsConfig = MetricsConfig()
    report: ReportConfig = ReportConfig()
    limit: int | None = Field(None, ge=1, description="Only the first N queries; null: all.")
