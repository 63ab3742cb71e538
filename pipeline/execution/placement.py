"""Where a run's units are worked on when ``ray.mode`` is ``auto``: Ray, or one worker process.

Starting Ray and its workers takes seconds (about five on a laptop, more on a large machine) and
ending it one more. What it gives is several replicas, several nodes, and reading, encoding and
committing beside scoring. Where one replica has little to do, that is not worth the wait: one child
process takes the units through all stages, and is replaced when it dies, as a worker of Ray is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pipeline.candidates.planning import Unit
from pipeline.config import JobConfig
from pipeline.engine.device import device_kind
from pipeline.execution.unit_size import UnitSize

Place = Literal["cluster", "process", "in_process"]

#: Seconds of one replica, by :data:`pipeline.execution.unit_size.RATES`, up to which Ray's start
#: costs more than its overlap of stages wins: a tenth of the time at most on CPU, where scoring is
#: nearly all of the work; on GPU encoding takes as long as scoring, and Ray spreads it over CPUs.
LITTLE_S: Final = {"cpu": 200.0, "cuda": 1.5}

#: The same without a network: all of the work is what Ray spreads over CPUs, so it is worth Ray's
#: start once it takes as long.
LITTLE_WITHOUT_NETWORK_S: Final = 10.0

#: Bytes of an input that is taken for little work before it is planned: some ten thousand passages.
_SMALL_BYTES: Final = 8 * 2**20


def place_of(
    config: JobConfig, size: UnitSize, todo: Sequence[Unit], whole: int, *, network: bool = True
) -> Place:
    """Where to work.

    Args:
        config: the job.
        size: of its units, with an estimate of the time that all of them take.
        todo: the units that are left.
        whole: documents of the whole input, of which ``limit`` may leave out most.
        network: whether the family has one.
    """
    if config.ray.mode != "auto":
        return config.ray.mode
    if needs_ray(config):
        return "cluster"
    if len(todo) <= 1:
        return "process"
    if size.seconds is None or not whole:
        return "cluster"
    left = size.seconds * sum(unit.documents for unit in todo) / whole
    little = LITTLE_S[device_kind(config.replicas.gpus)] if network else LITTLE_WITHOUT_NETWORK_S
    return "process" if left <= little else "cluster"


def looks_small(config: JobConfig) -> bool:
    """Whether a job will probably be worked on in a worker process, as seen before it is planned.

    A wrong guess costs some seconds of a CPU, for imports that nobody needs.
    """
    if config.ray.mode != "auto" or needs_ray(config):
        return False
    files = [Path(path) for path in config.input.path]
    try:
        return sum(file.stat().st_size for file in files if file.is_file()) <= _SMALL_BYTES and all(
            file.is_file() for file in files
        )
    except OSError:
        return False  # planning says what is wrong with it


def needs_ray(config: JobConfig) -> bool:
    """Whether a job asks for what only Ray has, or for a Ray that runs already.

    A cluster to join, several replicas, more than one GPU for a replica, labels of nodes, the size
    of an object store, or a port for its metrics.
    """
    ray, replicas = config.ray, config.replicas
    joined = ray.address or os.environ.get("RAY_ADDRESS")
    running = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return bool(
        joined
        or running
        or (replicas.given_most or 1) > 1
        or (replicas.num_gpus != "auto" and replicas.num_gpus > 1)
        or replicas.labels
        or ray.task_labels
        or ray.object_store_gib
        or ray.metrics_port
    )
