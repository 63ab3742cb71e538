"""Files are read below allowed folders only, whatever links say; what is no file is not opened."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from pipeline.candidates import reasons
from pipeline.images.errors import ImageError
from pipeline.images.local_files import read_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``root/in.png`` and ``root/deep/in.png`` inside, ``secret.png`` and ``rootless/`` outside."""
    inside = tmp_path / "root"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "rootless").mkdir()
    for name in ("root/in.png", "root/deep/in.png"):
        (tmp_path / name).write_bytes(b"inside")
    for name in ("secret.png", "rootless/secret.png"):
        (tmp_path / name).write_bytes(b"secret")
    return inside


def read(path: Path | str, *roots: Path, most_bytes: int = 100) -> bytes:
    return read_below(str(path), [str(root) for root in roots], most_bytes=most_bytes)


def refused(path: Path | str, *roots: Path, most_bytes: int = 100) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read(path, *roots, most_bytes=most_bytes)
    return caught.value


def test_files_below_a_root(root: Path, tmp_path: Path) -> None:
    assert read(root / "in.png", root) == b"inside"
    assert read(root / "deep/../deep/./in.png", tmp_path / "absent", root) == b"inside"
    assert read(root / "in.png", Path("/")) == b"inside"


def test_links_inside_and_a_root_that_is_a_link(root: Path, tmp_path: Path) -> None:
    (root / "link.png").symlink_to(root / "deep/in.png")
    (root / "linked").symlink_to("deep")
    (tmp_path / "named").symlink_to(root)
    assert read(root / "link.png", root) == b"inside"
    assert read(root / "linked/in.png", root) == b"inside"
    assert read(tmp_path / "named/in.png", tmp_path / "named") == b"inside"
    assert read(root / "in.png", tmp_path / "named") == b"inside"


@pytest.mark.parametrize("target", ["../secret.png", "../rootless/secret.png", "/etc/hostname"])
def test_links_that_lead_out(root: Path, target: str) -> None:
    (root / "link.png").symlink_to(target)
    (root / "twice.png").symlink_to("link.png")
    (root / "folder").symlink_to(Path(target).parent)
    for path in ("link.png", "twice.png", f"folder/{Path(target).name}"):
        error = refused(root / path, root)
        assert error.code == reasons.IMAGE_FETCH
        assert "input.images.roots" in error.detail


@pytest.mark.parametrize(
    "path", ["../secret.png", "deep/../../secret.png", "../rootless/secret.png", "..", "."]
)
def test_paths_that_lead_out(root: Path, path: str) -> None:
    assert refused(root / path, root).code == reasons.IMAGE_FETCH
    assert refused(root / "in.png").code == reasons.IMAGE_FETCH


def test_what_is_not_there(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    for path in ("absent.png", "in.png/x", "loop", "deep", "x" * 300, "a\0b"):
        assert refused(root / path, root).code == reasons.IMAGE_FETCH


def test_what_is_no_regular_file_is_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket.png"))
        for path in (root / "pipe.png", root / "socket.png", root / "deep"):
            assert "no regular file" in refused(path, root).detail
    for device in ("/dev/zero", "/dev/null", "/dev/stdin", "/dev/tty"):
        assert refused(device, Path("/dev")).code == reasons.IMAGE_FETCH


def test_bytes_are_limited(root: Path) -> None:
    assert read(root / "in.png", root, most_bytes=6) == b"inside"
    assert refused(root / "in.png", root, most_bytes=5).code == reasons.IMAGE_LIMIT


def test_a_link_that_is_set_between_check_and_reading(root: Path, tmp_path: Path) -> None:
    """Somebody exchanges a folder and a file for links and back all the time; nothing leaks."""
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "in.png").write_bytes(b"secret")
    (root / "link").symlink_to(secret)
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for first, second in (("deep", "aside"), ("link", "deep"), ("deep", "link")):
                (root / first).rename(root / second)
            (root / "aside").rename(root / "deep")

    thread = threading.Thread(target=exchange)
    thread.start()
    found = []
    try:
        for _ in range(3_000):
            try:
                found.append(read(root / "deep/in.png", root))
            except ImageError:
                found.append(b"")
    finally:
        stop.set()
        thread.join()
    assert set(found) == {b"inside", b""}
