"""conf/cluster/slurm.sbatch with stand-ins for Slurm's commands, for Ray and for the run itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "conf" / "cluster" / "slurm.sbatch"

#: Ray's part: what stands behind ``--`` runs on the head; ``RAY_FAILS`` times Ray does not start,
#: which Ray 2.60 ends with 0.
RAY = """#!/bin/bash
printf '%s\\n' "$@" > "$SEEN/ray"
stat --format=%a "$RAY_AUTH_TOKEN_PATH" > "$SEEN/mode"
wc -c < "$RAY_AUTH_TOKEN_PATH" >> "$SEEN/mode"
echo >> "$SEEN/starts"
(($(wc -l < "$SEEN/starts") > ${RAY_FAILS:-0})) || exit 0
while [[ $1 != -- ]]; do shift; done
shift
"$@"
"""

#: The run: ends with ``CODE``; or stays until it is asked to end, as a run that finishes its units.
RERANK = """#!/bin/bash
printf '%s\\n' "$@" > "$SEEN/rerank"
[[ -z ${STAY:-} ]] || { trap 'exit 143' TERM; touch "$SEEN/begun"; while :; do sleep 0.05; done; }
exit "$CODE"
"""

SRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$SEEN/srun"
while [[ $1 == --* ]]; do shift; done
"$@"
"""

SCONTROL = """#!/bin/bash
[[ "$*" == "show hostnames localhost,node2" ]] && printf '%s\\n' localhost node2
"""

#: Debian maps a machine's own name to 127.0.1.1, where no other node finds it.
HOSTNAME = """#!/bin/bash
[[ $1 == -I ]] && echo "${ADDRESSES-127.0.1.1 10.1.2.3 }"
"""


@pytest.fixture
def allocation(tmp_path: Path) -> dict[str, str]:
    """The environment of a batch shell on the first of two nodes."""
    tools, environment = tmp_path / "tools", tmp_path / "env" / "bin"
    for folder in (tools, environment, tmp_path / "seen", tmp_path / "home"):
        folder.mkdir(parents=True)
    files = {tools / "srun": SRUN, tools / "scontrol": SCONTROL, tools / "hostname": HOSTNAME}
    files |= {environment / "ray": RAY, environment / "rerank": RERANK}
    for path, text in files.items():
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "job.yaml").touch()
    return {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "SEEN": str(tmp_path / "seen"),
        "RERANK_ENV": str(environment.parent),
        "SLURM_JOB_ID": "4012345",
        "SLURM_JOB_NODELIST": "localhost,node2",
        "SLURM_CPUS_ON_NODE": "32",
        "SLURM_GPUS_ON_NODE": "4",
        "CODE": "0",
    }


def submitted(
    tmp_path: Path, allocation: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", SCRIPT, *words],
        cwd=tmp_path,
        env=allocation,
        capture_output=True,
        text=True,
        timeout=60,
    )


def seen(allocation: dict[str, str], name: str) -> list[str]:
    return Path(allocation["SEEN"], name).read_text().splitlines()


def test_ray_starts_on_every_node_and_the_job_runs_on_the_head(
    tmp_path: Path, allocation: dict[str, str]
) -> None:
    done = submitted(tmp_path, allocation, "job.yaml", "--limit", "5")
    assert done.returncode == 0, done.stderr
    assert seen(allocation, "srun")[:2] == ["--nodes=2", "--ntasks=2"]
    ray = seen(allocation, "ray")
    assert ray[0] == "symmetric-run"
    options = dict(zip(ray[1:9:2], ray[2:10:2], strict=True))
    assert options.pop("--address") == "10.1.2.3:22345"
    assert options == {"--min-nodes": "2", "--num-cpus": "32", "--num-gpus": "4"}
    job = str(tmp_path / "job.yaml")
    wanted = ["run", "-c", job, "--limit", "5", "--set", "ray.address=auto"]
    assert seen(allocation, "rerank") == wanted
    assert seen(allocation, "mode") == ["600", "65"]
    assert list(Path(allocation["HOME"]).iterdir()) == [], "the token stays nowhere"


def test_a_ray_that_was_too_slow_once_is_started_again(
    tmp_path: Path, allocation: dict[str, str]
) -> None:
    done = submitted(tmp_path, allocation | {"RAY_FAILS": "1"}, "job.yaml")
    assert done.returncode == 0, done.stderr
    assert len(seen(allocation, "starts")) == 2


@pytest.mark.parametrize("code", ["3", "75"])
def test_it_ends_with_the_code_of_the_run(
    tmp_path: Path, allocation: dict[str, str], code: str
) -> None:
    assert submitted(tmp_path, allocation | {"CODE": code}, "job.yaml").returncode == int(code)


def test_a_ray_that_did_not_start_is_no_success(tmp_path: Path, allocation: dict[str, str]) -> None:
    done = submitted(tmp_path, allocation | {"RAY_FAILS": "9"}, "job.yaml")
    assert done.returncode == 5
    assert len(seen(allocation, "starts")) == 2
    assert "Ray did not start on all 2 nodes" in done.stderr


def test_before_its_time_is_up_the_run_is_asked_to_end(
    tmp_path: Path, allocation: dict[str, str]
) -> None:
    words = ["bash", str(SCRIPT), "job.yaml"]
    with subprocess.Popen(words, cwd=tmp_path, env=allocation | {"STAY": "1"}) as batch:
        deadline = time.monotonic() + 30
        while not Path(allocation["SEEN"], "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        batch.send_signal(signal.SIGTERM)  # as Slurm does: to the batch shell alone
        assert batch.wait(30) == 143


def test_what_is_missing_is_named_before_ray_starts(
    tmp_path: Path, allocation: dict[str, str]
) -> None:
    assert submitted(tmp_path, allocation).returncode == 2
    alone = submitted(tmp_path, allocation | {"ADDRESSES": ""}, "job.yaml")
    assert alone.returncode == 5
    assert "no address but loopback" in alone.stderr
    lost = submitted(tmp_path, allocation | {"RERANK_ENV": str(tmp_path / "no")}, "job.yaml")
    assert lost.returncode == 2
    assert "RERANK_ENV=" in lost.stderr
    assert not Path(allocation["SEEN"], "srun").exists()


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    files = [SCRIPT, ROOT / ".ci" / "run", ROOT / ".ci" / "image_check"]
    done = subprocess.run(
        ["shellcheck", *map(str, files)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
