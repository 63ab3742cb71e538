"""Workers, nodes and the head of a real cluster die in the middle of a run; the output is exact."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.execution.cluster.conftest import Cluster, job_file, unit_files
from tests.execution.cluster.processes import kill, wait_for
from tests.execution.oracle import files_below, kept, problems
from tests.makers import long_table, write

HEAD = {"num_cpus": 2}
GPU_NODE = {"num_cpus": 1, "num_gpus": 1}

#: The run that nothing happens to: by one process without Ray, which takes seconds where a cluster
#: takes a minute of a CPU, and whose files those of any cluster must be. In the precision that
#: replicas with a GPU have.
UNDISTURBED = (
    "--set", "ray.mode=in_process", "--set", "ray.address=null", "--set", "replicas.num_gpus=0",
    "--set", "engine.dtype=bfloat16",
)  # fmt: skip

Start = Callable[..., Cluster]


def finished(driver: subprocess.Popen[str], job: Path, *, seconds: float = 240) -> int:
    """A driver's exit code; its output is shown when the test fails."""
    code = driver.wait(seconds)
    print(job.with_suffix(".log").read_text())
    return code


def test_workers_and_nodes_may_die_come_and_go(start: Start, tmp_path: Path) -> None:
    cluster = start(HEAD, GPU_NODE, GPU_NODE)
    table = long_table(40)
    source = write(tmp_path / "in.parquet", table, row_group_size=5)
    job = job_file(tmp_path, source, cluster, units={"documents": 5})
    whole = [*UNDISTURBED, "--set", f"output.path={tmp_path / 'whole'}"]
    assert finished(cluster.rerank(job, *whole), job) == 0
    unfaulted = unit_files(tmp_path / "whole")
    assert len(unfaulted) > 20

    pace = tmp_path / "pace"
    pace.write_text("0.02")
    output = tmp_path / "out"
    driver = cluster.rerank(job)

    def some_more_units() -> None:
        before = len(unit_files(output))
        wait_for(lambda: len(unit_files(output)) > before + 1 or driver.poll() is not None, "units")
        assert driver.poll() is None, job.with_suffix(".log").read_text()

    some_more_units()
    victim = cluster.replicas(1) or cluster.replicas(2)
    kill(victim[0])
    some_more_units()
    new = cluster.add(GPU_NODE)
    cluster.kill_node(1)
    wait_for(lambda: cluster.replicas(new), "a replica on the new node")
    some_more_units()
    cluster.remove(2)
    assert len(unit_files(output)) < len(unfaulted)
    pace.write_text("0")
    assert finished(driver, job) == 0
    assert problems(str(output), table, kept(files_below(str(tmp_path / "whole")))) == []


def test_a_run_whose_head_dies_fails_and_goes_on_elsewhere(start: Start, tmp_path: Path) -> None:
    table = long_table(30)
    source = write(tmp_path / "in.parquet", table, row_group_size=5)
    sections = {"units": {"documents": 5}, "replicas": {"num_gpus": 1}, "lease": {"ttl_s": 10}}
    first = start(HEAD, GPU_NODE)
    job = job_file(tmp_path, source, first, **sections)
    pace, output = tmp_path / "pace", tmp_path / "out"
    pace.write_text("0.02")
    driver = first.rerank(job)
    wait_for(lambda: len(unit_files(output)) > 2, "units")
    first.kill_gcs()
    assert finished(driver, job) == 5
    said = job.with_suffix(".log").read_text()
    assert "Ray was lost: the head of the cluster at" in said
    assert "run the same command again to resume" in said
    assert not list(output.glob("*/_SUCCESS"))
    before = unit_files(output)
    first.close()

    pace.write_text("0")
    second = start(HEAD, GPU_NODE)
    job = job_file(tmp_path, source, second, **sections)
    whole = [*UNDISTURBED, "--set", f"output.path={tmp_path / 'whole'}"]
    assert finished(second.rerank(job, *whole), job) == 0
    assert finished(second.rerank(job), job) == 0
    assert problems(str(output), table, kept(files_below(str(tmp_path / "whole")))) == []
    assert before.items() <= unit_files(output).items()
    assert len(before) < len(unit_files(output))


@pytest.mark.nightly
def test_forty_random_kills_over_two_thousand_queries(start: Start, tmp_path: Path) -> None:
    chance = random.Random(7)
    cluster = start(HEAD, GPU_NODE, GPU_NODE)
    table = long_table(2_000)
    source = write(tmp_path / "in.parquet", table, row_group_size=50)
    sections = {"units": {"documents": 40}, "lease": {"ttl_s": 10}}
    job = job_file(tmp_path, source, cluster, **sections)
    whole = [*UNDISTURBED, "--set", f"output.path={tmp_path / 'whole'}"]
    assert finished(cluster.rerank(job, *whole), job, seconds=900) == 0
    units = len(unit_files(tmp_path / "whole"))

    (tmp_path / "pace").write_text("0.002")
    output = tmp_path / "out"
    alive = [1, 2]
    driver = cluster.rerank(job)
    kills = 0
    while kills < 40:
        time.sleep(chance.uniform(2, 6))
        if driver.poll() is not None:
            driver = cluster.rerank(job)  # whoever started a run starts it again when it failed
            continue
        what = chance.choices(["worker", "node", "driver"], [7, 2, 1])[0]
        if what == "worker":
            workers = [process for node in alive for process in cluster.workers(node)]
            if not workers:
                continue
            kill(chance.choice(workers))
        elif what == "node":
            node = chance.choice(alive)
            cluster.kill_node(node)
            alive.remove(node)
            alive.append(cluster.add(GPU_NODE))
        else:
            kill(psutil.Process(driver.pid))
        kills += 1
        assert len(unit_files(output)) < units, "the run was over before it had suffered enough"
    (tmp_path / "pace").write_text("0")
    deadline = time.monotonic() + 900
    while (code := finished(driver, job, seconds=900)) != 0:
        assert time.monotonic() < deadline, f"exit code {code}"
        driver = cluster.rerank(job)
    assert problems(str(output), table, kept(files_below(str(tmp_path / "whole")))) == []
