"""What a driver leaves behind is ended, whatever ended the driver, and nothing else is."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.cluster import cleanup_process
from pipeline.cluster.session_folder import SessionFolder, base_for_sockets
from pipeline.errors import ConfigurationError
from tests.execution.drivers import ROOT, wait_for

#: Starts, in a session of its own, a child that leaves a child; prints nothing, waits for ever.
DRIVER = """
import os, subprocess, sys, time
from pathlib import Path
from pipeline.cluster.session_folder import SessionFolder

folder = SessionFolder(sys.argv[1])
logs = Path(folder.path, "r", "session_1", "logs")
logs.mkdir(parents=True)
Path(folder.path, "r", "session_1", "spilled").write_bytes(bytes(1000))
Path(folder.path, "r", "session_latest").symlink_to("session_1")
python = [sys.executable, "-I", "-S", "-c"]
alone = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
waiting = [*python, "import time; time.sleep(1000)"]
with (logs / "worker.out").open("w") as out:
    writer = subprocess.Popen(waiting, **(alone | {"stdout": out}))
orphan = f"import subprocess; print(subprocess.Popen({waiting!r}, stdout=-3, stderr=-3).pid)"
with folder.marking():
    marked = subprocess.run([*python, orphan], stdout=subprocess.PIPE, text=True)
strange = subprocess.Popen(waiting, **alone)
reader = subprocess.Popen(waiting, stdin=(logs / "worker.out").open(), **alone)
pids = [writer.pid, int(marked.stdout), strange.pid, reader.pid]
print(folder.path, *pids, flush=True)
time.sleep(1000) if sys.argv[2] == "wait" else folder.close(keep_logs=sys.argv[2] == "keep")
"""


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[str], list[str]]]]:
    """Starts the driver above; what it started on purpose to be left alone is ended at last."""
    spared: list[int] = []

    def start(how: str) -> tuple[subprocess.Popen[str], list[str]]:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path), how], text=True, cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert driver.stdout is not None
        words = driver.stdout.readline().split()
        spared.extend(int(word) for word in words[3:])
        return driver, words

    yield start
    for pid in spared:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_driver_that_is_killed_leaves_its_logs_alone(
    drive: Callable[..., tuple[subprocess.Popen[str], list[str]]], number: signal.Signals
) -> None:
    driver, (path, *numbers) = drive("wait")
    writer, marked, strange, reader = map(int, numbers)
    assert all(map(alive, (writer, marked, strange, reader)))
    driver.send_signal(number)
    _, errors = driver.communicate(timeout=60)  # until the cleanup process has closed its end too
    assert driver.returncode == -number
    assert not alive(writer)
    assert not alive(marked)
    assert alive(strange)
    assert alive(reader)
    kept = [str(p.relative_to(path)) for p in Path(path).rglob("*") if p.is_file()]
    assert sorted(kept) == [cleanup_process.LOCK, "r/session_1/logs/worker.out"]
    assert not Path(path, "r", "session_latest").is_symlink()
    assert errors.startswith("error: the driver of this run ended without a word")
    assert "run the same command again to resume" in errors
    assert path in errors


@pytest.mark.parametrize("how", ["remove", "keep"])
def test_a_driver_that_ends_in_order_is_spared(
    drive: Callable[..., tuple[subprocess.Popen[str], list[str]]], how: str
) -> None:
    driver, (path, *numbers) = drive(how)
    _, errors = driver.communicate(timeout=60)
    assert (driver.returncode, errors) == (0, "")
    assert [alive(int(number)) for number in numbers] == [False, False, True, True]
    assert Path(path).exists() == (how == "keep")


def test_the_cleanup_process_outlives_signals_that_end_a_terminal(
    drive: Callable[..., tuple[subprocess.Popen[str], list[str]]],
) -> None:
    driver, (path, *numbers) = drive("wait")
    [watching] = [
        child for child in psutil.Process(driver.pid).children() if path in child.cmdline()
    ]
    lock = Path(path, cleanup_process.LOCK)
    wait_for(lambda: lock.exists() and watching.is_running())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        watching.send_signal(number)
    assert os.getsid(watching.pid) != os.getsid(driver.pid)
    driver.kill()
    driver.communicate(timeout=60)
    assert not alive(int(numbers[0]))


def test_a_folder_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = SessionFolder(str(tmp_path))
    finally:
        os.umask(old)
    assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
    folder.close()
    assert not Path(folder.path).exists()


def locked(path: Path) -> bool:
    """Whether another process holds the lock; its file is there a moment earlier."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_folders_of_sessions_that_failed_long_ago_are_removed(tmp_path: Path) -> None:
    long_ago = time.time() - 30 * 24 * 3600
    kept, old, strange = (tmp_path / f"rerank-{name}" for name in ("kept", "old", "strange"))
    for folder in (kept, old, strange):
        folder.mkdir()
        if folder != strange:
            (folder / cleanup_process.LOCK).touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / cleanup_process.LOCK).touch()
    (tmp_path / "rerank-link").symlink_to(elsewhere)
    os.utime(old, (long_ago, long_ago))
    os.utime(strange, (long_ago, long_ago))
    os.utime(tmp_path / "rerank-link", (long_ago, long_ago), follow_symlinks=False)
    living = SessionFolder(str(tmp_path))
    wait_for(lambda: locked(Path(living.path, cleanup_process.LOCK)))
    os.utime(living.path, (long_ago, long_ago))
    SessionFolder(str(tmp_path)).close()
    assert not old.exists()
    assert kept.exists()
    assert strange.exists()
    assert elsewhere.exists()
    assert Path(living.path).exists()
    living.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere: no folder can be made .*RAY_TMPDIR"):
        SessionFolder(str(tmp_path / "nowhere"))


def test_ray_tmpdir_is_made_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "a" / "b"))
    assert base_for_sockets(0) == str(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_TMPDIR", "a/b")
    assert base_for_sockets(0) == str(tmp_path / "a" / "b")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{}/file", "cannot be made"),
        ("{}/file/below", "cannot be made"),
        ("/tmp/" + "x" * 80, "too long for Ray's sockets"),
    ],
)
def test_a_ray_tmpdir_that_is_of_no_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RAY_TMPDIR", value.format(tmp_path))
    with pytest.raises(ConfigurationError, match=rf"RAY_TMPDIR=.*{message}"):
        base_for_sockets(40 if message != "cannot be made" else 0)


def test_a_machine_without_a_folder_for_temporary_files_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", none)
    with pytest.raises(ConfigurationError, match="set TMPDIR"):
        base_for_sockets(0)


def test_long_folders_for_temporary_files_give_way_to_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 60)))
    assert base_for_sockets(77) == "/tmp"
