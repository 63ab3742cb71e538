"""An examination of this machine, and of what a job needs beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pipeline import machine
from pipeline.config import JobConfig, ModelConfig, RayConfig, ReplicasConfig, StorageConfig
from pipeline.doctor import host, ray_here, store
from pipeline.doctor.finding import Finding, looked, ok, skipped
from pipeline.doctor.torch_and_gpus import gpus_on_bus, torch_and_gpus
from pipeline.doctor.torch_probe import installed_torch
from pipeline.doctor.weights import weights
from pipeline.storage.policy import retry_policy, set_retry_policy

_WITH_A_JOB: Final = "rerank doctor -c job.yaml"

#: A person waits for the answer; a run is far more patient.
_PATIENCE: Final = StorageConfig(attempts=3, stall_s=5.0, give_up_s=20.0)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is looked at beside this machine.

    Attributes:
        job: a job; None: none.
        output: a folder that runs are to be written to, of which the job's is the default.
        model: a model, likewise.
        start_ray: whether a Ray is started, or the job's joined.
    """

    job: JobConfig | None = None
    output: str | None = None
    model: ModelConfig | None = None
    start_ray: bool = False


@dataclass(frozen=True)
class _Defaults:
    """What a Ray is looked at with where there is no job."""

    ray: RayConfig = field(default_factory=RayConfig)
    replicas: ReplicasConfig = field(default_factory=ReplicasConfig)


def examine(asked: Asked) -> list[Finding]:
    """Look at everything, whatever of it fails; a problem of one kind hides none of another."""
    job = asked.job
    found = [
        *looked("python", host.python),
        *looked("machine", host.resources),
        *looked("torch", lambda: _torch(job)),
        *looked("ray", ray_here.installed),
        *looked("ray", lambda: _ray(asked)),
        *looked("disk", host.disks),
    ]
    return found + _of_job(asked)


def _ray(asked: Asked) -> list[Finding]:
    job = asked.job
    if job is not None and job.ray.mode == "in_process":
        return [ok("ray", "ray.mode is in_process, so the job starts none")]
    return ray_here.reachable(job or _Defaults(), start=asked.start_ray)


def _torch(job: JobConfig | None) -> Sequence[Finding]:
    return torch_and_gpus(
        installed_torch(),
        machine.driver_version(),
        machine.gpus(),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        on_bus=gpus_on_bus(),
        wanted=job is not None and _wants_gpus_here(job),
    )


def _wants_gpus_here(job: JobConfig) -> bool:
    """Whether replicas of this machine take GPUs: a number is asked for, and no cluster named."""
    asked = job.replicas.num_gpus
    elsewhere = job.ray.address is not None or "RAY_ADDRESS" in os.environ
    return isinstance(asked, int | float) and asked > 0 and not elsewhere


def _of_job(asked: Asked) -> list[Finding]:
    """The input, the store and the model, where they were named."""
    job = asked.job
    output = asked.output or (job.output.path if job is not None else None)
    model = asked.model or (job.model if job is not None else None)
    before = retry_policy()
    set_retry_policy(_PATIENCE)
    try:
        return [*_of_stores(job, output), *_of_model(model)]
    finally:
        set_retry_policy(before)


def _of_stores(job: JobConfig | None, output: str | None) -> list[Finding]:
    found = []
    if job is not None:
        paths = job.input.path
        found += looked("input", lambda: store.inputs(paths))
    if output is None:
        found.append(skipped("store", "no output was named", f"{_WITH_A_JOB}, or --output FOLDER"))
    else:
        found += looked("store", lambda: store.output(output))
    return found


def _of_model(model: ModelConfig | None) -> list[Finding]:
    if model is None:
        return [skipped("weights", "no model was named", f"{_WITH_A_JOB}, or --model NAME")]
    return looked("weights", lambda: weights(model))
