"""The whole Ray Data graph: units stream through read, encode, score and commit."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.execution.replica import Replica
from pipeline.execution.stages import Job, commit, encode, read

if TYPE_CHECKING:
    import ray.data

#: A replica that dies is replaced this often before the run gives up, and a unit is tried again
#: this often: a record that kills its worker must not restart actors for ever.
_RESTARTS, _TASK_RETRIES = 4, 2


def status_rows(job: Job) -> ray.data.Dataset:
    """One row per unit of ``job``, each a small status once its file is committed.

    A batch is always one row and a row is one unit. Read and encode are CPU tasks (Ray fuses them),
    score is an actor pool with one model replica per actor, commit is a CPU task again. The row's
    payload travels through the object store; only status rows reach the driver.
    """
    import ray

    config = job.config
    pool = ray.data.ActorPoolStrategy(
        min_size=config.replicas.min,
        max_size=config.replicas.most,
        # All at once: a pool that grows one by one leaves GPUs idle for minutes, and pending
        # actors tell the cluster's autoscaler the exact shape that is wanted.
        initial_size=config.replicas.min,
    )
    one_unit = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    task = {**one_unit, "num_cpus": config.ray.read_cpus}
    with warnings.catch_warnings():
        # Bounded restarts have no named parameter in Ray 2.60; the generic ones are deprecated.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*is deprecated")
        return _graph(job, pool, one_unit, task)


def _graph(
    job: Job, pool: ray.data.ActorPoolStrategy, one_unit: dict[str, Any], task: dict[str, Any]
) -> ray.data.Dataset:
    import ray

    replicas = job.config.replicas
    return (
        ray.data.range(len(job.units), override_num_blocks=len(job.units))
        .map_batches(partial(read, job=job), **task)
        .map_batches(partial(encode, job=job), **task)
        .map_batches(
            Replica,
            fn_constructor_args=(job,),
            compute=pool,
            num_gpus=replicas.num_gpus or None,
            num_cpus=replicas.num_cpus,
            max_restarts=_RESTARTS,
            max_task_retries=_TASK_RETRIES,
            **one_unit,
        )
        .map_batches(partial(commit, job=job), **task)
    )
