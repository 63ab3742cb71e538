"""Local disks: what a process that dies, or stands still, leaves behind."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.config import StorageConfig
from pipeline.errors import AccessDeniedError, ConfigurationError, StorageError
from pipeline.storage import store
from pipeline.storage.policy import set_retry_policy


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.create_if_absent(str(tmp_path / "a.parquet"), b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["create_if_absent", "write_whole"])
def test_a_killed_write_leaves_a_temporary_file_that_is_found(tmp_path: Path, call: str) -> None:
    code = (
        "import os, sys; from pipeline.storage import store; "
        "os.fsync = lambda _: os.kill(os.getpid(), 9); "
        f"store.{call}(sys.argv[1], b'x' * 1000)"
    )
    path = tmp_path / "deep" / "a.parquet"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not path.exists()
    (left,) = store.list_temporary(str(tmp_path))
    assert left.size == 1000
    assert Path(left.path).parent == path.parent
    assert abs(datetime.now(UTC) - left.modified) < timedelta(hours=1)
    assert store.list_names(str(path.parent)) == []
    assert store.create_if_absent(str(path), b"second")
    store.delete(left.path)
    assert store.list_temporary(str(tmp_path)) == []
    assert store.list_uploads(str(tmp_path)) == []


def test_temporary_files_of_others_are_not_ours(tmp_path: Path) -> None:
    for name in (".a.tmp", "a.tmp", ".a.parquet.0123.tmp", "out.tmp/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert store.list_temporary(str(tmp_path)) == []


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_bytes(b"one")
    code = (
        "import os, sys; from pipeline.storage import store; "
        "os.fsync = lambda _: os.kill(os.getpid(), 9); "
        "store.replace_if_unchanged(sys.argv[1], b'two', sys.argv[2])"
    )
    version = (store.read_versioned(str(path)) or (b"", ""))[1]
    subprocess.run([sys.executable, "-c", code, str(path), version], check=False)
    assert path.read_bytes() == b"one"
    assert store.replace_if_unchanged(str(path), b"three", version)
    assert path.read_bytes() == b"three"


def test_a_lock_that_is_held_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_bytes(b"one")
    set_retry_policy(StorageConfig(stall_s=0.2))
    with (tmp_path / ".lease.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match=r"has held .*\.lease\.json\.lock for 0\.2 s"):
            store.replace_if_unchanged(str(path), b"two", "0")


def test_a_file_system_without_hard_links_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    with pytest.raises(ConfigurationError, match="has no hard links"):
        store.create_if_absent(str(tmp_path / "a"), b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"a: no space left .*inodes.* run again: it resumes"),
        (errno.EROFS, r"a: Read-only file system; mount it for writing"),
    ],
)
def test_a_disk_that_takes_no_more_is_named_and_nothing_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", refused)
    with pytest.raises(StorageError, match=said):
        store.create_if_absent(str(tmp_path / "a"), b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_closed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", closed)  # the superuser may write everywhere
    with pytest.raises(AccessDeniedError, match="check owner and mode"):
        store.create_if_absent(str(tmp_path / "a"), b"x")
