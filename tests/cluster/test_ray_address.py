"""Which cluster is joined; addresses that lead nowhere end with a sentence."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster import ray_address
from pipeline.config import RayConfig
from pipeline.errors import ConfigurationError, NotFoundError
from tests.execution.cluster.processes import free_ports
from tests.makers import long_table, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("configured", "environment", "joined", "named"),
    [
        (None, None, None, "RAY_ADDRESS in the environment"),
        (None, "", None, "RAY_ADDRESS in the environment"),
        (None, "head:6379", "head:6379", "RAY_ADDRESS in the environment"),
        ("local", "head:6379", None, "ray.address"),
        ("other:6379", "head:6379", "other:6379", "ray.address"),
        ("auto", None, "auto", "ray.address"),
    ],
)
def test_the_setting_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    configured: str | None,
    environment: str | None,
    joined: str | None,
    named: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    config = RayConfig(address=configured)
    assert (ray_address.cluster_address(config), ray_address.setting_of(config)) == (joined, named)


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where Ray notes the cluster of this machine."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The processes of the machine, as /proc has them."""
    monkeypatch.setattr(ray_address, "_PROCESSES", tmp_path / "proc")
    return tmp_path / "proc"


def run_raylet(processes: Path, number: int, address: str, socket: str = "/tmp/ray/s") -> Path:
    """A raylet among the processes."""
    place = processes / str(number)
    place.mkdir(parents=True)
    words = ["/site-packages/raylet/raylet", f"--raylet_socket_name={socket}", "--port=1"]
    (place / "cmdline").write_bytes("\0".join([*words, f"--gcs-address={address}"]).encode())
    return place


@pytest.mark.parametrize(
    ("living", "noted", "joined"),
    [
        ([], "a:1", "a:1"),
        (["a:1"], None, "a:1"),
        (["a:1"], "b:2", "a:1"),
        (["a:1", "b:2"], "b:2", "b:2"),
        (["a:1", "b:2"], None, r"several \(a:1, b:2\)"),
        (["a:1", "b:2"], "c:3", r"several \(a:1, b:2\)"),
        ([], None, "there is none"),
    ],
)
def test_auto_is_the_cluster_of_this_machine(
    note: Path, processes: Path, living: list[str], noted: str | None, joined: str
) -> None:
    for number, address in enumerate(living):
        run_raylet(processes, number, address)
    run_raylet(processes, 77, "other:1", "/tmp/rerank-abcdefgh/r/session_1/sockets/raylet")
    (processes / "78").mkdir(parents=True)
    (processes / "78" / "cmdline").write_bytes(b"vi\0--gcs-address=evil:1")
    (processes / "79").mkdir()
    if noted is not None:
        note.write_text(noted)
    if ":" in joined and "several" not in joined:
        assert ray_address.found_cluster() == joined
        return
    with pytest.raises(NotFoundError, match=rf"ray\.address: auto .*{joined}"):
        ray_address.found_cluster()


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give a file away")
def test_a_raylet_of_another_user_is_not_believed(note: Path, processes: Path) -> None:
    os.chown(run_raylet(processes, 1, "evil:1"), 12345, 12345)
    run_raylet(processes, 2, "a:1")
    assert ray_address.found_cluster() == "a:1"


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give a file away")
def test_a_cluster_that_another_user_noted_is_not_joined(note: Path) -> None:
    note.write_text("192.0.2.66:6379")
    os.chown(note, 12345, 12345)
    with pytest.raises(ConfigurationError, match=r"another user \(uid 12345\)"):
        ray_address.found_cluster()


def test_a_noted_cluster_that_is_gone_is_said(note: Path) -> None:
    note.write_text(f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(NotFoundError, match=r"ray\.address: no cluster at '127"):
        ray_address.check_reachable(ray_address.found_cluster(), "ray.address")


@pytest.mark.parametrize("address", ["head", "head:", "127.0.0.1:99999999", "[::1", ":0"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(NotFoundError, match="no cluster at"):
        ray_address.check_reachable(address, "ray.address")


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("ray://head:10001", 2, "is no address of a cluster"),
        ("http://head", 2, "'http://head' is no address of a cluster"),
        ("http://me:secret@head", 2, "holds credentials"),
        ("127.0.0.1:{port}", 4, "no cluster at"),
        ("head", 4, "no cluster at"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path: Path, address: str, code: int, message: str) -> None:
    source = write(tmp_path / "in.parquet", long_table(2))
    address = address.format(port=free_ports(1)[0])
    done = drive(tmp_path, source, "--set", f"ray.address={address}")
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


@pytest.mark.nightly
def test_a_local_ray_closes_its_token_and_ignores_other_clusters(tmp_path: Path) -> None:
    """A whole run of somebody who has no token and, once, another cluster in the environment."""
    source = write(tmp_path / "in.parquet", long_table(2))
    done = drive(tmp_path, source, "--set", "ray.mode=cluster")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode) == 0o600
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    job = drive(
        tmp_path, source, "--set", "output.path=" + str(tmp_path / "b"), RAY_ADDRESS=nowhere
    )
    assert (job.returncode, f"no cluster at '{nowhere}'" in job.stderr) == (4, True), job.stderr


def drive(
    folder: Path, source: Path, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    settings = {"model.name": "lexical", "input.path": source, "output.path": folder / "out"}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "jobs.rerank", *sets, *words],
        cwd=ROOT, env=plain | environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
