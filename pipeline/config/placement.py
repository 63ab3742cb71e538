"""On which machines a job runs: the sections ``replicas`` and ``ray`` of a job."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from pipeline.config.base import Settings

Auto = Literal["auto"]

T = TypeVar("T", int, float)

#: Shares such as 1/3 add up to a whole GPU.
_NEARLY: Final = 1e-9


class ReplicasConfig(Settings):
    """The actor pool that holds the model.

    What is ``auto`` becomes a number when a run is prepared, by what the machine or the cluster
    has (:mod:`pipeline.execution.replicas`); the properties are of such numbers.
    """

    min: Annotated[int, Field(ge=1)] | Auto = Field(
        "auto",
        description="Replicas kept while there is work. auto: max; 1 where max is given, and on a "
        "cluster.",
    )
    max: Annotated[int, Field(ge=1)] | Auto | None = Field(
        "auto",
        description="Replicas under load. auto, or null: min where that is given; else one for "
        "each GPU of the machine or cluster, or as many as keep its CPUs at work.",
    )
    initial: int | None = Field(
        None, ge=1, description="Replicas asked for at once; default: max. Never more than units."
    )
    num_gpus: Annotated[float, Field(ge=0)] | Auto = Field(
        "auto",
        description="GPUs per replica; 0 scores on CPU, fractions share one GPU. auto: 1 where "
        "the machine or cluster has a GPU that torch can use, else 0.",
    )
    num_cpus: Annotated[float, Field(gt=0)] | Auto = Field(
        "auto",
        description="CPUs (and torch threads) per replica. auto: 1 beside a GPU, and with "
        "engine.deterministic; else the CPUs of the machine, shared out among its replicas.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Ray node labels that a replica's node must have, e.g. "
        "ray.io/accelerator-type: A100; values as in Ray's label selectors.",
    )

    @property
    def given_least(self) -> int | None:
        """``min`` where it is a number."""
        return None if self.min == "auto" else self.min

    @property
    def given_most(self) -> int | None:
        """``max`` where it is a number, else ``min`` where that is one."""
        return self.given_least if self.max in ("auto", None) else self.max  # type: ignore[return-value]

    @property
    def least(self) -> int:
        """Lower end of the pool."""
        return _number("min", self.given_least)

    @property
    def most(self) -> int:
        """Upper end of the pool."""
        return _number("max", self.given_most)

    @property
    def first(self) -> int:
        """Size that the pool starts with."""
        return self.most if self.initial is None else self.initial

    @property
    def gpus(self) -> float:
        """GPUs of each replica."""
        return _number("num_gpus", None if self.num_gpus == "auto" else self.num_gpus)

    @property
    def cpus(self) -> float:
        """CPUs of each replica."""
        return _number("num_cpus", None if self.num_cpus == "auto" else self.num_cpus)

    def fitting(self, gpus: float) -> int:
        """Replicas that so many GPUs hold; of one on CPU, were it on a GPU.

        A share is that of one GPU: with 0.7 each has one replica, and the rest of it is unused.
        """
        each = self.gpus or 1.0
        if each > 1:
            return math.floor(gpus / each)
        whole, rest = divmod(gpus, 1)
        return int(whole) * _sharing(each) + math.floor(rest / each + _NEARLY)

    def gpus_for(self, replicas: int) -> int:
        """GPUs that so many replicas have or share; see :meth:`fitting`."""
        each = self.gpus or 1.0
        return math.ceil(replicas * each if each > 1 else replicas / _sharing(each))

    @field_validator("num_gpus")
    @classmethod
    def _whole_or_a_share(cls, value: float | Auto) -> float | Auto:
        if value != "auto" and value > 1 and value % 1:
            raise ValueError("expected a whole number of GPUs, or a share of one (0.5)")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> ReplicasConfig:
        least, most = self.given_least, self.given_most
        if least is not None and most is not None and most < least:
            raise ValueError(f"replicas.max ({most}) is below replicas.min ({least})")
        first = self.initial
        if first is not None and not (least or 1) <= first <= (first if most is None else most):
            raise ValueError(
                f"replicas.initial ({first}) is not between replicas.min ({least or 'auto'}) and "
                f"replicas.max ({most or 'auto'})"
            )
        return self


def _sharing(each: float) -> int:
    """Replicas that share a GPU, of which each has a part."""
    return math.floor(1 / each + _NEARLY)


def _number(name: str, value: T | None) -> T:
    if value is None:
        raise ValueError(f"replicas.{name} is auto here; preparing a run makes a number of it")
    return value


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
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port at which a local Ray shows its metrics and the run's to Prometheus, see "
        "docs/metrics.md; null: one that Ray picks.",
    )
