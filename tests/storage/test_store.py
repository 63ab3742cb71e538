from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage import store


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on moto's S3 server, reached over HTTP as any S3 is."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="rerank")
        yield "s3://rerank"
    server.stop()


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path)
    bucket: str = request.getfixturevalue("bucket")
    name = request.node.originalname
    return f"{bucket}/{name}"


def test_create_if_absent_lets_the_first_writer_win(root: str) -> None:
    path = store.join(root, "unit.parquet")
    assert store.create_if_absent(path, b"first")
    assert not store.create_if_absent(path, b"second")
    assert store.read_bytes(path) == b"first"


def test_of_many_writers_exactly_one_creates(root: str) -> None:
    path = store.join(root, "raced.parquet")
    won = []

    def write(i: int) -> None:
        if store.create_if_absent(path, str(i).encode()):
            won.append(i)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read_bytes(path) == str(won[0]).encode()


def test_write_whole_replaces(root: str) -> None:
    path = store.join(root, "state.json")
    store.write_whole(path, b"one")
    store.write_whole(path, b"two")
    assert store.read_bytes(path) == b"two"


def test_listing_names_data_files_only_in_order(root: str) -> None:
    for name in ("b.parquet", "a/x.parquet", "_SUCCESS", ".hidden.parquet", "a/_tmp/y.parquet"):
        store.write_whole(store.join(root, name), b"x")
    found = [file.path.removeprefix(root).strip("/") for file in store.list_files(root)]
    assert found == ["a/x.parquet", "b.parquet"]
    assert store.list_names(root) == [".hidden.parquet", "_SUCCESS", "b.parquet"]
    assert store.list_folders(root) == ["a"]
    assert store.list_names(store.join(root, "absent")) == []


def test_a_glob_lists_what_it_matches(root: str) -> None:
    for name in ("a-1.parquet", "a-2.parquet", "b-1.parquet"):
        store.write_whole(store.join(root, name), b"x")
    found = [file.path.rsplit("/", 1)[-1] for file in store.list_files(f"{root}/a-*.parquet")]
    assert found == ["a-1.parquet", "a-2.parquet"]


def test_identity_changes_with_content(root: str) -> None:
    path = store.join(root, "a.parquet")
    store.write_whole(path, b"one")
    before = store.identify(path)
    assert before == store.list_files(path)[0]
    store.write_whole(path, b"two")
    assert store.identify(path) != before


def test_a_local_crash_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        store.create_if_absent(str(tmp_path / "a.parquet"), b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_fetched_with_what_lies_below_it(root: str, tmp_path: Path) -> None:
    for name in ("config.json", "1_Pooling/config.json"):
        store.write_whole(store.join(root, "model", name), name.encode())
    store.fetch_folder(store.join(root, "model"), tmp_path / "copy")
    assert (
        tmp_path / "copy" / "1_Pooling" / "config.json"
    ).read_bytes() == b"1_Pooling/config.json"
    with pytest.raises(NotFoundError, match="nothing: no files there"):
        store.fetch_folder(store.join(root, "nothing"), tmp_path / "none")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.parquet: no file found"):
        store.list_files(str(tmp_path / "nothing.parquet"))
    with pytest.raises(NotFoundError, match=r"gone: cannot be opened"):
        store.read_bytes(str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match="nope://x"):
        store.read_bytes("nope://x")
