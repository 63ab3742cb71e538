"""A Ray of our own: who may look into it, what its death says, and that nothing of it stays."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipeline.cluster.ray_session import TOLD_BY_US
from tests.execution.drivers import ROOT, wait_for
from tests.execution.oracle import files_below
from tests.makers import long_table, write


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run in a process of its own.

    Attributes:
        process: the driver.
        base: where its folder for temporary files is made.
        output: where it writes.
        below: every process below it.
    """

    process: subprocess.Popen[str]
    base: Path
    output: Path
    below: list[psutil.Process]

    def child(self, name: str) -> psutil.Process:
        """The process of Ray with this name."""
        [found] = [one for one in self.below if one.is_running() and one.name() == name]
        return found

    @property
    def left(self) -> list[psutil.Process]:
        """Processes that still run."""
        return [one for one in self.below if runs(one)]

    @property
    def lease(self) -> str:
        """The state of its lease."""
        files = files_below(str(self.output)).items()
        [data] = [data for name, data in files if name.endswith("/lease.json")]
        state: str = json.loads(data)["state"]
        return state


def runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A run that has committed a unit and has many before it."""
    source = write(tmp_path / "in.parquet", long_table(600, 20), row_group_size=200)
    output = tmp_path / "out"
    base = Path(f"/tmp/rr-{os.getpid()}-{os.urandom(3).hex()}")  # short, for Ray's sockets
    settings = {
        "model.name": "lexical", "input.path": source, "output.path": output,
        "units.documents": 200, "ray.mode": "cluster", "ray.read_cpus": 0.5,
        "replicas.min": 1, "replicas.num_cpus": 0.5,
    }  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.rerank", *sets], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=plain | {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(base)},
    )  # fmt: skip
    wait_for(lambda: list(output.glob("*/ranked/*.parquet")) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    below = psutil.Process(process.pid).children(recursive=True)
    yield Running(process=process, base=base, output=output, below=below)
    process.kill()
    process.communicate()
    for one in base.iterdir():
        subprocess.run(["rm", "-rf", str(one)], check=True)
    base.rmdir()


def ended(run: Running) -> str:
    """What a driver wrote to standard error, which its cleanup process keeps open until it ends."""
    return run.process.communicate(timeout=240)[1]


@pytest.mark.parametrize(
    ("vital", "stopped", "told"),
    [
        ("gcs_server", None, "gcs_server, its cluster service, was killed"),
        ("raylet", "gcs_server", "raylet, its node manager and object store, was killed"),
        (
            "ray::RuntimeEnvAgent",
            "raylet",
            "the runtime environment agent, without which the raylet ends, died",
        ),
    ],
)
def test_ray_dies_and_the_run_says_so(
    running: Running, vital: str, stopped: str | None, told: str
) -> None:
    """Ray's own end of the driver, which may come first, waits: who would tell of it is stopped."""
    [folder] = running.base.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    if stopped is not None:
        running.child(stopped).suspend()
    running.child(vital).kill()
    errors = ended(running)
    assert running.process.returncode == 5, errors
    assert f"error: Ray was lost: {told}" in errors
    assert "run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert running.lease == "released"
    wait_for(lambda: not running.left)  # the cleanup process, which has closed its output, is last
    assert list(folder.glob("r/session_*/logs/*.out")), "the logs explain what happened"
    assert not list(folder.glob("r/session_*/sockets"))


def test_a_driver_is_killed_and_nothing_of_its_ray_stays(running: Running) -> None:
    [folder] = running.base.iterdir()
    assert any("DashboardAgent" in " ".join(one.cmdline()) for one in running.below)
    running.process.kill()
    errors = ended(running)
    assert running.process.returncode == -signal.SIGKILL
    assert "the driver of this run ended without a word" in errors
    wait_for(lambda: not running.left)
    assert {one.name for one in folder.glob("r/session_*/*")} == {"logs"}


def test_ray_still_says_in_these_words_what_we_say_ourselves() -> None:
    from ray._private import ray_logging

    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    binaries = [Path(folder, "_raylet.so"), Path(folder, "core/src/ray/raylet/raylet")]
    said = b"".join(binary.read_bytes() for binary in binaries)
    for words in TOLD_BY_US.split("|"):
        assert words.encode() in said, words
    quiet = ray_logging.LogDeduplicator(5, None, TOLD_BY_US)
    line = {"lines": ["(raylet) Task x failed, so the task will be retried."], "pid": 1}
    assert not [batch for batch in quiet.deduplicate(line) if batch["lines"]]
