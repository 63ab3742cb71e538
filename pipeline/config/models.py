"""The settings of a job, one frozen model per section of ``conf/rerank.yaml``.

Defaults are resolved here and only here. Descriptions are the documentation: the settings table in
``docs/settings.md`` is generated from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Names, Settings
from pipeline.config.conditions import refuse_malformed
from pipeline.config.fusion import FusionConfig
from pipeline.config.images import ImagesConfig

#: The format that every run has: a unit's Parquet file is its commit record.
PARQUET: Final = "parquet"


class ModelConfig(Settings):
    """Which reranker scores the candidates."""

    name: str | None = Field(
        None,
        description="A model card (see `rerank models`) or the .yaml file of one of yours, which "
        "fills the keys below; or the place of a checkpoint without a card, as model.weights.",
    )
    family: str | None = Field(
        None,
        description="The file in pipeline/rerankers that runs the model, or the dotted path of a "
        "module of yours, which the command must allow with --allow-code; default: the card's, or "
        "what the checkpoint's files say.",
    )
    weights: str | None = Field(
        None,
        description="Where the checkpoint lies: a local folder, an fsspec URI (s3://...), "
        "`package:NAME` for one carried by a Python package, or a hub id.",
    )
    revision: str | None = Field(
        None,
        description="Commit, branch or tag of a hub id; default: its default branch. It is "
        "resolved to a commit once, when the run is planned, and a resumed run uses that.",
    )
    adapter: str | None = Field(
        None,
        description="LoRA adapter that is merged into the weights while they are read, of any "
        "family: a folder, URI or hub id. Where model.name is the place of an adapter alone, its "
        "base is found by adapter_config.json.",
    )
    adapter_revision: str | None = Field(
        None, description="As model.revision, of an adapter with a hub id."
    )
    sha256: str | None = Field(
        None, description="Expected sha256 of model.safetensors; checked before loading."
    )
    digest: str | None = Field(
        None,
        description="Expected digest of every file of the checkpoint that matters, as `rerank "
        "models add` writes it into a card; checked before loading.",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the family, e.g. max_length, truncation."
    )

    @model_validator(mode="after")
    def _named_or_explicit(self) -> ModelConfig:
        if self.name is None and self.family is None and self.weights is None:
            raise ValueError(
                "set model.name (a card, or the place of a checkpoint), model.weights, or "
                "model.family"
            )
        return self


class InputConfig(Settings):
    """Where the candidate lists are, and how their columns are called."""

    path: Names = Field(
        min_length=1,
        description="Files, folders or globs with candidate lists, local or fsspec URIs; read in "
        "sorted order. Folders called name=value give their files a column of text. The folder of "
        "a BEIR collection brings its corpus and queries along.",
    )
    format: Literal["auto", "parquet", "trec", "tsv", "csv", "jsonl"] = Field(
        "auto",
        description="What the files of input.path are, text formats also compressed; auto: by "
        "their content. Whatever is not Parquet is converted once into a staged copy.",
    )
    corpus: Names | None = Field(
        None,
        min_length=1,
        description="Files, folders or globs with the documents (doc_id, title, text, image ...) "
        "of candidates that hold ids only; Parquet, JSONL, TSV or CSV, found by their content.",
    )
    queries: Names | None = Field(
        None,
        min_length=1,
        description="The same with the queries (query_id, query) of candidates that hold none.",
    )
    filter: tuple[Any, ...] | None = Field(
        None,
        description="Rows of input.path that are candidates, as [column, op, value] conditions "
        "that all hold, or a list of such lists of which one holds; op is =, ==, !=, <, <=, >, >=, "
        "in or not in (pyarrow.parquet.filters_to_expression). The others are left out of the "
        "staged copy that a filter makes necessary.",
    )
    order: Literal["auto", "grouped", "scattered"] = Field(
        "auto",
        description="grouped: the rows of a query stand together, and where they do not, the run "
        "is refused; scattered: they are brought together in a staged copy; auto: the query ids "
        "are looked at.",
    )
    staging: str | None = Field(
        None,
        min_length=1,
        description="Folder of staged copies, which every node must reach; default: "
        "<output.path>/_staged.",
    )
    broadcast_mib: float = Field(
        1024.0,
        ge=0,
        description="Size of a corpus or of queries in memory up to which every node gets all of "
        "it, so that candidates need not be moved to their documents; larger ones are joined by a "
        "shuffle.",
    )
    layout: Literal["auto", "long", "nested"] = Field(
        "auto",
        description="long: a row per query and document, rows of a query together; "
        "nested: a row per query with a list of structs, or a struct of lists; auto: by the "
        "columns.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Our column name to yours, where neither it nor a known alias fits; "
        "fields inside a nested list are mapped the same way. doc_id: '@position' names candidates "
        "of a list that has no ids by their place in it, from 0.",
    )
    text_columns: Names | None = Field(
        None,
        min_length=1,
        description="Columns joined into the scored text, null and empty ones left out; "
        "default: title, where there is one, and text.",
    )
    text_separator: str = Field(" ", description="What joins text_columns.")
    hash_mib: float = Field(
        256.0,
        ge=0,
        description="Files up to this size whose store has no version for them (local disks) are "
        "identified by a hash of their content; larger ones by samples, times and inode, and may "
        "not be touched during a run.",
    )
    allow_empty: bool = Field(
        False,
        description="Publish a run of an input without any candidate; such an input is refused "
        "otherwise, for it is mostly a mistake of the step before.",
    )
    max_expansion: float = Field(
        100.0,
        gt=1,
        description="Decoded bytes per stored byte past which a file is refused as a "
        "decompression bomb, where a unit takes more than 128 MiB.",
    )
    images: ImagesConfig = ImagesConfig()

    @field_validator("filter")
    @classmethod
    def _of_conditions(cls, conditions: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        refuse_malformed(conditions)
        return conditions


class OutputConfig(Settings):
    """Where ranked Parquet goes, and what it carries."""

    path: str = Field(
        min_length=1, description="Folder of runs; a run writes into <path>/<run id>."
    )
    columns: Names = Field(
        (), description="Input columns copied to the output beside ids, rank and scores."
    )
    token_counts: bool = Field(
        False, description="Also write n_tokens and truncated of every scored candidate."
    )
    fusion: FusionConfig | None = Field(
        None,
        description="Also write fused_score and fused_rank, which the first stage has a share in.",
    )
    calibration: str | None = Field(
        None,
        min_length=1,
        description="File that `rerank calibrate` wrote for this model; also write "
        "calibrated_score, the probability of relevance by it.",
    )
    file_mib: float = Field(
        256.0, gt=0, description="Size in memory past which a unit's rows go into several files."
    )
    formats: Names = Field(
        (PARQUET,),
        description="What is written of a unit: formats of pipeline/outputs, such as trec, each in "
        "a folder of its name. parquet is always among them: it says that the unit is committed.",
    )

    @field_validator("formats")
    @classmethod
    def _parquet_and_others(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        """Each once and in one order, for the order in which they are named means nothing."""
        return (PARQUET, *sorted(set(formats) - {PARQUET}))

    @model_validator(mode="after")
    def _columns_once(self) -> OutputConfig:
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise ValueError(f"output.columns names '{twice[0]}' twice; name every column once")
        return self


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


class ReplicasConfig(Settings):
    """The actor pool that holds the model."""

    min: int = Field(1, ge=1, description="Replicas kept while there is work.")
    max: int | None = Field(None, ge=1, description="Replicas under load; default: min.")
    initial: int | None = Field(
        None, ge=1, description="Replicas asked for at once; default: max. Never more than units."
    )
    num_gpus: float = Field(
        0.0, ge=0, description="GPUs per replica; 0 scores on CPU. Fractions share one GPU."
    )
    num_cpus: float = Field(1.0, gt=0, description="CPUs (and torch threads) per replica.")
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Ray node labels that a replica's node must have, e.g. "
        "ray.io/accelerator-type: A100; values as in Ray's label selectors.",
    )

    @property
    def most(self) -> int:
        """Upper end of the pool."""
        return self.min if self.max is None else self.max

    @property
    def first(self) -> int:
        """Size that the pool starts with."""
        return self.most if self.initial is None else self.initial

    @model_validator(mode="after")
    def _ordered(self) -> ReplicasConfig:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"replicas.max ({self.max}) is below replicas.min ({self.min})")
        if not self.min <= self.first <= self.most:
            raise ValueError(
                f"replicas.initial ({self.initial}) is not between replicas.min ({self.min}) and "
                f"replicas.max ({self.most})"
            )
        return self


class RayConfig(Settings):
    """Which Ray runs the job."""

    mode: Literal["auto", "cluster", "in_process"] = Field(
        "auto",
        description="cluster: Ray; in_process: one unit after the other in this process, without "
        "Ray, for debugging; auto: Ray, but a single worker process where that is sooner done: "
        "one replica, nothing that needs Ray, and one unit or minutes of a CPU's work.",
    )
    address: str | None = Field(
        None,
        description="`auto` or host:port joins a cluster; null joins that of the Ray job this is, "
        "and starts Ray on this machine otherwise.",
    )
    insecure_cluster: bool = Field(
        False, description="Accept a cluster that obeys everybody, without token authentication."
    )
    read_cpus: float = Field(0.5, gt=0, description="CPUs per read, encode or commit task.")
    task_labels: dict[str, str] = Field(
        default_factory=dict,
        description="Ray node labels that the nodes of these tasks must have, e.g. to keep them "
        "off GPU nodes.",
    )
    object_store_gib: float | None = Field(
        None, gt=0, description="Object store of a local Ray; default: a quarter of memory, <= 4."
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

    interval_s: float = Field(30.0, gt=0, description="Seconds between log lines off a terminal.")


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
    progress: ProgressConfig = ProgressConfig()
    limit: int | None = Field(None, ge=1, description="Only the first N queries; null: all.")
