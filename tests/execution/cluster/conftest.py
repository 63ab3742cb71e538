from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.execution.cluster.head import ALLOW, PYTHON, ROOT, Head
from tests.execution.cluster.processes import children, command, kill


class Cluster:
    """Several nodes that are processes of this machine (see nodes.py), and ways to hurt them."""

    def __init__(self, *resources: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rr-")
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        folder = self._folder.name
        words = [PYTHON, "-m", "tests.execution.cluster.nodes", folder]
        self._errors = Path(folder, "nodes.log")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*words, *(json.dumps(node) for node in resources)],
                cwd=ROOT, env=self.environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        try:
            self.address: str = self._answer()
            self.nodes: list[dict[str, int]] = [self._answer() for _ in resources]
        except BaseException:
            self.close()
            raise

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._errors.read_text()[-2000:]
        return json.loads(line)

    def _order(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def add(self, resources: dict[str, Any]) -> int:
        """Add a node; returns its number."""
        self.nodes.append(self._order(f"add {json.dumps(resources)}"))
        return len(self.nodes) - 1

    def remove(self, number: int) -> None:
        """Take a node away, as a cloud does when it shuts one down in order."""
        self._order(f"remove {number}")

    def workers(self, number: int, doing: str = "") -> list[psutil.Process]:
        """The worker processes on a node, all or those whose title says what they are doing."""
        return [
            process
            for process in children(self.nodes[number]["raylet"])
            if command(process).startswith("ray::") and doing in command(process)
        ]

    def replicas(self, number: int) -> list[psutil.Process]:
        """The replica processes on a node."""
        return self.workers(number, "Replica")

    def kill_node(self, number: int) -> None:
        """kill -9 of a raylet and of everything below it."""
        raylet = self.nodes[number]["raylet"]
        kill(*children(raylet), psutil.Process(raylet))

    def kill_gcs(self) -> None:
        """kill -9 of the head's memory of the cluster."""
        kill(psutil.Process(self.nodes[0]["gcs_server"]))

    def rerank(self, job: Path, *words: str) -> subprocess.Popen[str]:
        """A driver of its own, with its output in a file beside the job."""
        with job.with_suffix(".log").open("a") as log:
            return subprocess.Popen(
                [PYTHON, "-m", "jobs.rerank", "-c", str(job), *ALLOW, *words],
                cwd=ROOT, env=self.environment, text=True, stdout=log, stderr=log,
            )  # fmt: skip

    def close(self) -> None:
        """Stop what was started, and nothing else."""
        below = children(self._process.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        kill(*below)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()


def job_file(folder: Path, source: Path, cluster: Cluster | Head, **sections: Any) -> Path:
    """A job with a replica per fake GPU, whose pace stands in ``folder/pace``."""
    folder.mkdir(exist_ok=True)
    pace = folder / "pace"
    if not pace.exists():
        pace.write_text("0")
    job: dict[str, Any] = {
        "model": {"family": "benchmarks.fixed_cost", "settings": {"pace": str(pace)}},
        "input": {"path": str(source)},
        "output": {"path": str(folder / "out")},
        "replicas": {"min": 2, "num_gpus": 1, "num_cpus": 0.25},
        "ray": {"address": cluster.address, "read_cpus": 0.5},
        "report": {"page": False},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | sections), encoding="utf-8")
    return path


def unit_files(output: Path) -> dict[str, bytes]:
    """Every unit file of the only run below ``output``."""
    return {path.name: path.read_bytes() for path in output.glob("*/ranked/*.parquet")}


@pytest.fixture
def start() -> Iterator[Callable[..., Cluster]]:
    """Starts clusters that the test's end stops."""
    started: list[Cluster] = []

    def begin(*resources: dict[str, Any]) -> Cluster:
        started.append(Cluster(*resources))
        return started[-1]

    yield begin
    for cluster in started:
        cluster.close()
