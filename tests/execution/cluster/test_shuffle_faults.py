"""Workers and a node die in the middle of a staging shuffle; the copy is the undisturbed one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.cluster import ray_tasks
from pipeline.config import JobConfig
from pipeline.execution import staged_input
from pipeline.execution.preparation import prepare
from pipeline.staging.strategy import Sizes
from tests.execution.cluster.conftest import Cluster
from tests.execution.cluster.processes import kill
from tests.execution.drivers import PATIENCE_S, Driver, Drivers
from tests.staging.layouts import collection, scattered_long

HEAD = {"num_cpus": 2}
NODE = {"num_cpus": 1}


def small_tasks() -> None:
    """A hook: a shuffle of some fifteen tasks that deal rows out, and as many that gather them."""
    ray_tasks._GATHERED_BYTES = 20_000
    staged_input.SIZES = Sizes(in_memory=0, part=120_000, shard=60_000)


def stage(job: dict[str, Any]) -> None:
    """Work of a driver: everything up to the first unit, a staged copy among it."""
    staged = prepare(JobConfig.model_validate(job)).staged
    assert staged is not None
    assert staged.described()["strategy"] == "shuffle"


def parts(output: Path) -> dict[str, bytes]:
    """Every part of the copy below an output."""
    return {path.name: path.read_bytes() for path in output.glob("_staged/*/*.parquet")}


def found_at(cluster: Cluster, driver: Driver, task: str) -> psutil.Process:
    """The first worker, of any node, that is seen at a task of this name."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for number in reversed(range(len(cluster.nodes))):
            for worker in cluster.workers(number, task):
                return worker
        assert driver.process.exitcode is None, f"over before {task}: {driver.errors}"
        time.sleep(0.02)
    raise AssertionError(f"no sign of {task}: {driver.errors}")


@pytest.mark.nightly
def test_the_copy_is_the_same_whoever_dies_in_the_shuffle(
    start: Callable[..., Cluster], drivers: Drivers, tmp_path: Path
) -> None:
    given = scattered_long(tmp_path, collection(queries=200, documents=300, candidates=20))
    own = f"{__name__}:stage"
    job = {"model": {"name": "lexical"}, "input": given, "output": {"path": f"{tmp_path}/whole"}}
    hooks = (f"{__name__}:small_tasks",)
    assert drivers.run(job | {"ray": {"mode": "in_process"}}, hooks=hooks, work=own) == 0
    undisturbed = parts(tmp_path / "whole")
    assert len(undisturbed) > 3

    cluster = start(HEAD, NODE)
    job |= {
        "output": {"path": f"{tmp_path}/out"},
        "ray": {"address": cluster.address, "read_cpus": 0.5},
        "report": {"page": False},
    }
    secrets = {name: v for name, v in cluster.environment.items() if name.startswith("RAY_")}
    driver = drivers.start(job, hooks=hooks, work=own, environment=secrets)
    kill(found_at(cluster, driver, "HashShuffleMap"))
    kill(found_at(cluster, driver, "HashShuffleReduce"))
    cluster.kill_node(1)
    before = parts(tmp_path / "out")
    assert len(before) < len(undisturbed)
    assert driver.wait() == 0, driver.errors
    assert parts(tmp_path / "out") == undisturbed
