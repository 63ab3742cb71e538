"""The pool of replicas and the nodes of a cluster grow with the work and go back with it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.execution.cluster.conftest import job_file
from tests.execution.cluster.fake_cloud import ENVIRONMENT, configuration
from tests.execution.cluster.head import ALLOW, PYTHON, ROOT, Head, started_head
from tests.execution.cluster.processes import kill_tree, wait_for
from tests.makers import long_table, write

KINDS = {
    "gpu": {
        "resources": {"CPU": 1, "GPU": 1},
        "labels": {"pool": "gpu"},
        "node_config": {},
        "min_workers": 0,
        "max_workers": 3,
    }
}


@dataclass(frozen=True)
class State:
    """What Ray says: nodes with a GPU that are alive, and replicas that are."""

    nodes: int
    replicas: int


def state_of(head: Head) -> State:
    """Asks Ray's state API."""
    nodes, actors = (
        head.get(f"/api/v0/{what}?limit=1000&detail=1")["data"]["result"]["result"]
        for what in ("nodes", "actors")
    )
    return State(
        nodes=sum(n["state"] == "ALIVE" and "GPU" in n["resources_total"] for n in nodes),
        replicas=sum(a["state"] == "ALIVE" and "Replica" in a["class_name"] for a in actors),
    )


@pytest.mark.parametrize("initial", [1, pytest.param(None, marks=pytest.mark.nightly)])
def test_pool_and_nodes_go_from_one_to_three_and_back(tmp_path: Path, initial: int | None) -> None:
    cluster = configuration(KINDS, idle_minutes=0.1)
    table = long_table(120)
    source = write(tmp_path / "in.parquet", table, row_group_size=5)
    (tmp_path / "pace").write_text("0.15")  # several seconds per unit
    with started_head(autoscaling=cluster, **ENVIRONMENT) as head:
        job = job_file(
            tmp_path,
            source,
            head,
            units={"documents": 5},
            replicas={
                "min": 1, "max": 3, "initial": initial, "num_gpus": 1, "num_cpus": 0.5,
                "labels": {"pool": "gpu"},
            },
        )  # fmt: skip
        assert state_of(head) == State(nodes=0, replicas=0)
        seen: list[State] = []
        log = tmp_path / "job.log"
        with log.open("w") as output:
            driver = subprocess.Popen(
                [PYTHON, "-m", "jobs.rerank", "-c", str(job), *ALLOW],
                cwd=ROOT, stdout=output, stderr=output,
                # Ray Data asks for nodes every ten seconds; tests have less patience.
                env=head.environment | {"RAY_DATA_MIN_GAP_BETWEEN_AUTOSCALING_REQUESTS": "2"},
            )  # fmt: skip
        try:

            def watched() -> State:
                seen.append(state_of(head))
                assert driver.poll() is None, log.read_text()
                return seen[-1]

            if initial == 1:
                wait_for(lambda: watched().replicas == 1, "the first replica")
            wait_for(lambda: watched() == State(nodes=3, replicas=3), "three of each")
            (tmp_path / "pace").write_text("0")
            assert driver.wait(300) == 0, log.read_text()
        finally:
            kill_tree(driver.pid)
            driver.wait()
        if initial == 1:
            assert State(nodes=1, replicas=1) in seen
        wait_for(lambda: state_of(head) == State(nodes=0, replicas=0), "an empty cluster")
    ranked = pq.ParquetDataset(next((tmp_path / "out").glob("*/ranked"))).read()
    assert ranked.num_rows == table.num_rows
