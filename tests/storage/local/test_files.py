"""What is no file of a run's is refused by name: never followed, read, replaced or waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.storage import store

SECRET = b"of somebody else"

Make = Callable[[Path, Path], object]


def bound(path: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Make] = {
    "symbolic link": lambda path, victim: path.symlink_to(victim),
    "symbolic link ": lambda path, _: path.symlink_to("/nowhere/at/all"),
    "FIFO": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "socket": bound,
}

CALLS: dict[str, Callable[[str], object]] = {
    "read": store.read_versioned,
    "open": store.open_own,
    "create": lambda path: store.create_if_absent(path, b"new"),
    "write": lambda path: store.write_whole(path, b"new"),
    "replace": lambda path: store.replace_if_unchanged(path, b"new", "0"),
    "delete": store.delete,
}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "victim.txt"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_file_is_refused_by_name(
    tmp_path: Path, victim: Path, kind: str, call: str
) -> None:
    path = tmp_path / "ranked" / "unit-0.parquet"
    path.parent.mkdir()
    KINDS[kind](path, victim)
    before = os.lstat(path)
    with pytest.raises(DamagedRunError, match=rf"{path}: a {kind.strip()}, where a file of a run"):
        CALLS[call](str(path))
    assert os.lstat(path)[:2] == before[:2]
    assert victim.read_bytes() == SECRET
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "nothing is left behind"


@pytest.mark.parametrize("call", CALLS)
def test_a_link_in_the_place_of_a_folder_is_refused(
    tmp_path: Path, victim: Path, call: str
) -> None:
    (tmp_path / "ranked").symlink_to(victim.parent)
    place = str(tmp_path / "ranked")
    with pytest.raises(DamagedRunError, match=rf"{place}: a symbolic link, where a folder of a"):
        CALLS[call](f"{place}/{victim.name}")
    with pytest.raises(DamagedRunError, match="a symbolic link"):
        store.list_entries(place)
    assert [path.name for path in victim.parent.iterdir()] == [victim.name]
    assert victim.read_bytes() == SECRET


def test_a_file_that_a_user_names_may_be_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "qrels").symlink_to(victim)
    assert store.read_bytes(str(tmp_path / "qrels")) == SECRET


def test_what_a_user_names_and_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path), str(tmp_path / "pipe"), os.devnull):
        with pytest.raises(NotFoundError, match=rf"^{path}: is a folder, a pipe or a device; give"):
            store.read_bytes(path)


def test_a_second_name_of_a_file_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    store.create_if_absent(str(path), b"one")
    os.link(path, tmp_path / "copy")
    _, version = store.read_versioned(str(path)) or (b"", "")
    assert store.replace_if_unchanged(str(path), b"two", version)
    assert (path.read_bytes(), (tmp_path / "copy").read_bytes()) == (b"two", b"one")


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "lease.json"
    path.write_bytes(b"one")
    (tmp_path / ".lease.json.lock").symlink_to(victim.parent / "new")
    with pytest.raises(Exception, match=r"lease\.json: Too many levels of symbolic links"):
        store.replace_if_unchanged(str(path), b"two", "0")
    assert not (victim.parent / "new").exists()


def test_no_more_is_read_than_such_a_file_may_hold(tmp_path: Path, s3_folder: str) -> None:
    local = tmp_path / "lease.json"
    with local.open("wb") as file:
        file.truncate(1 << 40)  # a hole: takes no space, but would not fit into memory
    with pytest.raises(DamagedRunError, match=r"lease\.json: 1,099,511,627,776 bytes, more than"):
        store.read_versioned(str(local), most_bytes=1000)
    remote = f"{s3_folder}/lease.json"
    store.write_whole(remote, bytes(5000))
    with pytest.raises(DamagedRunError, match=r"lease\.json: 5,000 bytes, more than the 1,000"):
        store.read_versioned(remote, most_bytes=1000)
    assert store.read_versioned(remote, most_bytes=5000) is not None


def test_entries_say_what_stands_there(tmp_path: Path, victim: Path, s3_folder: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for number, (kind, make) in enumerate(KINDS.items()):
        make(folder / f"{number}-{kind.strip().replace(' ', '-')}", victim)
    (folder / "x\ny").write_bytes(b"123")
    found = {entry.name: (entry.kind, entry.size) for entry in store.list_entries(str(folder))}
    assert found.pop("x\ny") == ("file", 3)
    assert {name.partition("-")[2].replace("-", " ") for name in found} == {
        kind for kind, _ in found.values()
    }
    assert store.list_entries(str(tmp_path / "absent")) == []
    for name in ("run/a", "run/b/c"):
        store.write_whole(f"{s3_folder}/{name}", b"12")
    entries = [(e.name, e.kind, e.size) for e in store.list_entries(f"{s3_folder}/run")]
    assert entries == [("a", "file", 2), ("b", "folder", 0)]


@pytest.mark.parametrize("kind", ["FIFO", "symbolic link ", "file"])
@pytest.mark.parametrize("deep", [False, True])
def test_what_stands_in_the_place_of_a_folder_is_named(
    tmp_path: Path, victim: Path, kind: str, deep: bool
) -> None:
    place = tmp_path / "run"
    KINDS.get(kind, lambda path, _: path.write_bytes(b""))(place, victim)
    path = place / "ranked" / "x" if deep else place / "x"
    with pytest.raises(DamagedRunError, match=rf"{place}: a {kind.strip()}, where a folder"):
        store.create_if_absent(str(path), b"new")


@pytest.mark.parametrize(
    ("folder", "umask", "made", "file"),
    [
        (0o755, 0o022, 0o755, 0o644),
        (0o700, 0o022, 0o700, 0o600),
        (0o750, 0o022, 0o750, 0o640),
        (0o770, 0o007, 0o770, 0o660),
        (0o755, 0o077, 0o700, 0o600),
        (0o755, 0o002, 0o775, 0o664),  # a group that works together, by its umask
        (0o711, 0o022, 0o711, 0o600),  # through which others walk, and which they cannot list
        (0o1777, 0o022, 0o755, 0o644),
    ],
)
def test_files_are_readable_by_those_who_can_read_the_folder(
    tmp_path: Path, folder: int, umask: int, made: int, file: int
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    top.chmod(folder)
    before = os.umask(umask)
    try:
        store.write_whole(str(top / "run" / "ranked" / "written"), b"1")
        assert store.create_if_absent(str(top / "run" / "created"), b"1")
        version = store.read_versioned(str(top / "run" / "created"))[1]
        store.replace_if_unchanged(str(top / "run" / "created"), b"2", version)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in top.rglob("*")}
    assert modes == {"run": made, "ranked": made, "written": file, "created": file}
