"""What every store promises, on a local disk and on a real S3 server."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pytest

from pipeline.errors import ConfigurationError, InputContractError, NotFoundError
from pipeline.storage import store
from pipeline.storage.parquet import read_rows, to_bytes
from pipeline.storage.probe import probe

T = TypeVar("T")
WRITERS = 16


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    folder: str = request.getfixturevalue("s3_folder")
    return folder


def race(write: Callable[[int], T]) -> list[T]:
    start = threading.Barrier(WRITERS)

    def run(i: int) -> T:
        start.wait()
        return write(i)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def test_create_if_absent_lets_the_first_writer_win(root: str) -> None:
    path = store.join(root, "unit.parquet")
    assert store.create_if_absent(path, b"first")
    assert not store.create_if_absent(path, b"second")
    assert not store.create_if_absent(path, b"first"), "equal content, but of another call"
    assert store.read_bytes(path) == b"first"


def test_of_many_writers_exactly_one_creates(root: str) -> None:
    for key in range(5):
        path = store.join(root, f"raced-{key}.parquet")
        won = race(lambda i, path=path: store.create_if_absent(path, str(i).encode()))
        assert sum(won) == 1
        assert store.read_bytes(path) == str(won.index(True)).encode()


def test_compare_and_swap_loses_no_increment(root: str) -> None:
    path = store.join(root, "counter.json")
    assert store.create_if_absent(path, b"0")

    def increment(_: int) -> None:
        for _ in range(2):
            while True:
                content, version = store.read_versioned(path) or (b"", "")
                if store.replace_if_unchanged(path, b"%d" % (int(content) + 1), version):
                    break

    race(increment)
    assert store.read_bytes(path) == b"%d" % (2 * WRITERS)
    assert store.list_names(root) == ["counter.json"]


def test_a_version_is_replaced_once(root: str) -> None:
    path = store.join(root, "lease.json")
    assert store.read_versioned(path) is None
    assert store.replace_if_unchanged(path, b"x", "0123") is None
    store.write_whole(path, b"one")
    content, version = store.read_versioned(path) or (b"", "")
    assert content == b"one"
    new = store.replace_if_unchanged(path, b"two", version)
    assert new is not None
    assert store.read_versioned(path) == (b"two", new)
    assert store.replace_if_unchanged(path, b"three", version) is None
    assert store.read_bytes(path) == b"two"
    store.delete(path)
    assert store.replace_if_unchanged(path, b"four", new) is None
    assert not store.exists(path)


def test_the_probe_believes_an_honest_store_and_leaves_nothing(root: str) -> None:
    found = probe(root)
    assert (found.create, found.replace) == (True, True), found.detail
    assert "one winner each" in found.detail
    assert store.list_names(root) == []


def test_write_whole_replaces(root: str) -> None:
    path = store.join(root, "state.json")
    store.write_whole(path, b"one")
    store.write_whole(path, b"two")
    assert store.read_bytes(path) == b"two"


def test_deleting_twice_is_deleting(root: str) -> None:
    path = store.join(root, "gone.json")
    store.write_whole(path, b"one")
    store.delete(path)
    store.delete(path)
    assert not store.exists(path)


def test_listing_names_data_files_only_in_order(root: str) -> None:
    for name in ("b.parquet", "a/x.parquet", "_SUCCESS", ".hidden.parquet", "a/_tmp/y.parquet"):
        store.write_whole(store.join(root, name), b"x")
    found = [file.path.removeprefix(root).strip("/") for file in store.list_files(root)]
    assert found == ["a/x.parquet", "b.parquet"]
    assert store.list_names(root) == [".hidden.parquet", "_SUCCESS", "b.parquet"]
    assert store.list_folders(root) == ["a"]
    assert store.list_names(store.join(root, "absent")) == []
    assert store.is_folder(store.join(root, "a"))
    assert not store.is_folder(store.join(root, "b.parquet"))
    assert not store.is_folder(store.join(root, "absent"))


def test_a_folder_is_not_its_namesake(root: str) -> None:
    store.write_whole(store.join(root, "run", "a.parquet"), b"x")
    store.write_whole(store.join(root, "run-2", "b.parquet"), b"x")
    found = store.list_files(store.join(root, "run"))
    assert [file.path.rpartition("/")[2] for file in found] == ["a.parquet"]


def test_a_glob_lists_what_it_matches(root: str) -> None:
    for name in ("a-1.parquet", "a-2.parquet", "b-1.parquet", "deep/a-3.parquet"):
        store.write_whole(store.join(root, name), b"x")

    def found(pattern: str) -> list[str]:
        files = store.list_files(f"{root}/{pattern}")
        return [file.path.removeprefix(root).strip("/") for file in files]

    assert found("a-*.parquet") == ["a-1.parquet", "a-2.parquet"]
    assert found("a-[2-9].parquet") == ["a-2.parquet"]
    assert found("**/a-?.parquet") == ["a-1.parquet", "a-2.parquet", "deep/a-3.parquet"]


def test_identity_changes_with_content(root: str) -> None:
    path = store.join(root, "a.parquet")
    store.write_whole(path, b"one")
    before = store.identify(path)
    assert before == store.list_files(path)[0] == store.list_files(root)[0]
    store.write_whole(path, b"two")
    assert store.identify(path) != before


@pytest.mark.parametrize("seed", range(3))
def test_any_way_of_reading_gives_the_same_bytes(root: str, seed: int) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(3_000_000)
    path = store.join(root, "a.bin")
    store.write_whole(path, data)
    model = io.BytesIO(data)
    with store.open_input(path) as file:
        for _ in range(40):
            if chance.random() < 0.5:
                where = chance.choice(
                    [(chance.randrange(len(data)), 0), (-chance.randrange(99), 2)]
                )
                assert file.seek(*where) == model.seek(*where)
            size = chance.choice([1, 100, 70_000, 1_500_000])
            assert file.read(size) == model.read(size)
            assert file.tell() == model.tell()
        file.seek(0)
        assert file.read() == data
        assert file.read(1) == b""


def test_an_overwritten_file_is_never_read_as_a_mixture(root: str) -> None:
    path = store.join(root, "a.parquet")
    old, new = to_bytes(pa.table({"x": [1] * 9})), to_bytes(pa.table({"x": [2] * 9}))
    store.write_whole(path, old)
    planned = store.identify(path)
    with store.open_input(path) as file:
        store.write_whole(path, new)
        if root.startswith("s3://"):
            with pytest.raises(InputContractError, match=r"a\.parquet: changed since"):
                file.read()
        else:
            assert file.read() == old
    with pytest.raises(InputContractError, match=r"a\.parquet: changed since"):
        store.open_input(path, expected=planned)
    with pytest.raises(InputContractError, match=r"a\.parquet: changed since"):
        list(read_rows(path, 0, 9, columns=["x"], expected=planned))


def test_a_folder_is_fetched_with_what_lies_below_it(root: str, tmp_path: Path) -> None:
    for name in ("config.json", "1_Pooling/config.json", "empty"):
        store.write_whole(store.join(root, "model", name), name.encode() * (name != "empty"))
    folder = store.join(root, "model")
    files = store.files_below(folder)
    store.fetch_files(
        [(file, tmp_path / "copy" / file.path.removeprefix(f"{folder}/")) for file in files]
    )
    pooling = tmp_path / "copy" / "1_Pooling" / "config.json"
    assert pooling.read_bytes() == b"1_Pooling/config.json"
    assert (tmp_path / "copy" / "empty").read_bytes() == b""
    digest = hashlib.sha256(b"config.json").hexdigest()
    assert store.sha256_file(tmp_path / "copy" / "config.json") == digest
    assert store.files_below(store.join(root, "nothing")) == []


def test_what_is_missing_is_named(root: str) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.parquet: no file found"):
        store.list_files(store.join(root, "nothing.parquet"))
    with pytest.raises(NotFoundError, match=r"none-\*\.parquet: no file found"):
        store.list_files(store.join(root, "none-*.parquet"))
    for missing in (store.read_bytes, store.open_input):
        with pytest.raises(NotFoundError, match=r"gone: cannot be opened"):
            missing(store.join(root, "gone"))
    with pytest.raises(NotFoundError, match="gone: no such file"):
        store.identify(store.join(root, "gone"))


def test_paths_that_are_none_are_refused(s3_folder: str) -> None:
    with pytest.raises(ConfigurationError, match="nope://x"):
        store.read_bytes("nope://x")
    with pytest.raises(ConfigurationError, match=r"s3://: no bucket; expected s3://BUCKET"):
        store.list_files("s3://")
    with pytest.raises(NotFoundError, match=r"s3://no-such-bucket/x.*NoSuchBucket"):
        store.read_bytes("s3://no-such-bucket/x")
    with pytest.raises(NotFoundError, match="check the name"):
        store.create_if_absent("s3://no-such-bucket/x", b"")


def test_spellings_of_a_place_are_one_place(tmp_path: Path, s3_folder: str) -> None:
    store.write_whole(f"file://{tmp_path}/a", b"local")
    assert store.read_bytes(str(tmp_path / "a")) == b"local"
    store.write_whole(f"{s3_folder.replace('s3://', 's3a://')}/a", b"remote")
    assert store.read_bytes(f"{s3_folder}/a") == b"remote"
    assert store.identify(f"{s3_folder.replace('s3://', 's3a://')}/a").path == f"{s3_folder}/a"


@pytest.mark.parametrize(
    "name", ["a b", "\u00fc", "u\u0308", "+", "%41", "#", "?x=1", "a//b", "a'\"&<", "x" * 200]
)
def test_names_are_taken_literally(s3_folder: str, name: str) -> None:
    path = f"{s3_folder}/{name}"
    assert store.create_if_absent(path, name.encode())
    assert store.read_bytes(path) == name.encode()
    assert [file.path for file in store.list_files(s3_folder, suffix="")] == [path]


def test_other_stores_create_once_and_say_that_they_cannot_swap() -> None:
    folder = f"memory://{os.getpid()}"
    path = f"{folder}/unit"
    assert store.create_if_absent(path, b"first")
    assert not store.create_if_absent(path, b"second")
    assert store.read_bytes(path) == b"first"
    assert store.list_names(folder) == ["unit"]
    with pytest.raises(ConfigurationError, match="memory:// has no compare-and-swap"):
        store.replace_if_unchanged(path, b"x", "1")
    found = probe(folder)
    assert (found.create, found.replace) == (True, False)
    assert "no compare-and-swap" in found.detail
    store.delete(path)
    assert store.list_names(folder) == []
