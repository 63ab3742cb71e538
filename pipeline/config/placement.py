"""On which machines a job runs: the sections ``replicas`` and ``ray`` of a job."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.base import Settings


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
