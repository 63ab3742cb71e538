"""The whole Ray Data graph: units stream through read, encode, score and commit."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.execution.units.replica import Replica, units_at_once
from pipeline.execution.units.replica_reports import Send
from pipeline.execution.units.stages import Job
from pipeline.execution.units.unit_tasks import commit_unit, encode_unit

if TYPE_CHECKING:
    import ray.data

#: A task whose worker or node is lost is run again, however often. What keeps a record that kills
#: its worker from doing so for ever are the marks that every attempt leaves (see attempts.py): the
#: fourth attempt at a unit does not begin it. Ray Data's own default for actors is the same.
_FOR_EVER = -1


def status_rows(job: Job, send: Send) -> ray.data.Dataset:
    """One row per unit of ``job``, each a small status once its file is committed.

    A batch is always one row and a row is one unit. Reading and encoding is a CPU task, score is an
    actor pool with one model replica per actor, commit is a CPU task again. The row's payload
    travels through the object store; only status rows reach the driver.

    Args:
        job: the job.
        send: takes the reports of a replica, in its process.
    """
    import ray

    config = job.config
    replicas, units, slots = config.replicas, len(job.units), units_at_once(config)
    # A replica without a unit would only make the cluster start a node for it.
    pool = ray.data.ActorPoolStrategy(
        min_size=min(replicas.least, units),
        max_size=min(replicas.most, units),
        # All at once: a pool that grows one by one leaves GPUs idle for minutes, and pending
        # actors tell the cluster's autoscaler the exact shape that is wanted.
        initial_size=min(replicas.first, units),
        # As many units again wait at each actor, which is Ray Data's default.
        max_concurrent_calls_per_actor=slots,
        enable_true_multi_threading=slots > 1,
    )
    one_unit = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    labels = config.ray.task_labels
    task = {
        **one_unit,
        "num_cpus": config.ray.read_cpus,
        "label_selector": labels or None,
        "max_retries": _FOR_EVER,
    }
    with warnings.catch_warnings():
        # Retries have no named parameter in Ray 2.60; the generic ones are deprecated.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*is deprecated")
        return _graph(job, send, pool, one_unit, task)


def _graph(
    job: Job,
    send: Send,
    pool: ray.data.ActorPoolStrategy,
    one_unit: dict[str, Any],
    task: dict[str, Any],
) -> ray.data.Dataset:
    import ray

    replicas = job.config.replicas
    return (
        ray.data.range(len(job.units), override_num_blocks=len(job.units))
        .map_batches(partial(encode_unit, job=job), **task)
        .map_batches(
            Replica,
            fn_constructor_args=(job,),
            fn_constructor_kwargs={"slots": units_at_once(job.config), "send": send},
            compute=pool,
            num_gpus=replicas.gpus or None,
            num_cpus=replicas.cpus,
            label_selector=replicas.labels or None,
            max_restarts=_FOR_EVER,
            max_task_retries=_FOR_EVER,
            **one_unit,
        )
        .map_batches(partial(commit_unit, job=job), **task)
    )
