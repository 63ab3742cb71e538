"""What a job may compute on: this machine, or the cluster that it joins, which is asked."""

from __future__ import annotations

import sys
from contextlib import ExitStack

from pipeline.cluster.nodes import Nodes, joined_cluster, this_machine
from pipeline.cluster.ray_address import cluster_address
from pipeline.config import JobConfig, ReplicasConfig
from pipeline.errors import NotFoundError
from pipeline.execution.replicas.choice import settled
from pipeline.execution.task_session import task_session


def nodes_for(config: JobConfig, staying: ExitStack, *, starting: bool) -> Nodes:
    """What there is for a job's replicas.

    A cluster is joined where a setting of replicas is ``auto``, and not asked otherwise.

    Args:
        config: the job.
        staying: takes Ray over, where a cluster is joined.
        starting: whether the run is to start after that.

    Raises:
        NotFoundError: the cluster cannot be reached. Where the run does not start yet, only if the
            number of GPUs hangs on it.
        ConfigurationError: as :func:`pipeline.cluster.ray_session.ray_session`.
    """
    if config.ray.mode == "in_process" or not joins_cluster(config):
        return this_machine()
    replicas = config.replicas
    if replicas.given_most is not None and "auto" not in (replicas.num_gpus, replicas.num_cpus):
        return Nodes(nodes=(), cluster=True)
    try:
        task_session(config, staying)
    except NotFoundError as error:
        if starting:
            raise
        if replicas.num_gpus == "auto":
            raise NotFoundError(
                f"{error}. replicas.num_gpus is auto, and whether the cluster has GPUs decides "
                "precision and units: give it a number to plan without the cluster"
            ) from None
        return Nodes(nodes=(), cluster=True)
    return joined_cluster()


def in_this_process(config: JobConfig) -> JobConfig:
    """The job with numbers for one replica in this process, by what this machine has."""
    here = this_machine()
    config = settled(config, here)
    replicas = config.replicas
    auto = 1.0 if replicas.gpus else here.cpus
    cpus = auto if replicas.num_cpus == "auto" else replicas.num_cpus
    one = ReplicasConfig(min=1, max=1, num_gpus=replicas.gpus, num_cpus=cpus)
    return config.model_copy(update={"replicas": one})


def joins_cluster(config: JobConfig) -> bool:
    """Whether a job runs on a Ray that is there already."""
    running = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return running or cluster_address(config.ray) is not None
