"""Copies of remote checkpoints: by content, whole, and never another one's."""

from __future__ import annotations

import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.checkpoints import weights_cache
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.locating import locate
from pipeline.errors import ModelError, NotFoundError
from pipeline.storage import store

GOLDEN = "bge-reranker-tiny"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RERANK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture(params=["s3", "memory"])
def uri(request: pytest.FixtureRequest, goldens: Path) -> str:
    """An address with a checkpoint: where listings have versions, and where they have none."""
    if request.param == "s3":
        folder = f"{request.getfixturevalue('s3_folder')}/model"
    else:
        folder = f"memory://weights/{uuid.uuid4().hex}"
    for path in sorted((goldens / GOLDEN).iterdir()):
        store.write_whole(store.join(folder, path.name), path.read_bytes())
    store.write_whole(store.join(folder, "onnx/model.onnx"), b"of no concern")
    return folder


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir() and path.name != "index")


def test_a_copy_is_named_by_its_content(uri: str, goldens: Path, cache: Path) -> None:
    local = locate(str(goldens / GOLDEN))
    first, again = locate(uri), locate(uri)
    assert first.files == again.files == local.files
    assert first.digest == local.digest
    assert entries(cache) == [first.folder] == [again.folder]
    assert not (first.folder / "onnx").exists()


def test_new_weights_at_an_address_are_others(uri: str, cache: Path) -> None:
    old = locate(uri)
    files = dict(old.files)
    store.write_whole(f"{uri}/model.safetensors", b"new")
    new = locate(uri)
    assert new.digest != old.digest
    assert (new.folder / "model.safetensors").read_bytes() == b"new"
    assert locate(uri, files=files).folder == old.folder, "a worker has the copy that was planned"
    shutil.rmtree(old.folder)
    with pytest.raises(ModelError, match=rf"{uri}/model\.safetensors: not the file that the run"):
        locate(uri, files=files)
    assert entries(cache) == [new.folder], "nothing is left of what was refused"


def test_a_worker_without_a_copy_fetches_what_was_planned(uri: str, cache: Path) -> None:
    files = dict(locate(uri).files)
    shutil.rmtree(cache)
    found = locate(uri, files=files)
    assert weights_cache.hash_files(found.folder, files) == files
    store.delete(f"{uri}/tokenizer.json")
    shutil.rmtree(cache)
    with pytest.raises(ModelError, match=r"tokenizer\.json: .*sha256 is absent"):
        locate(uri, files=files)
    for name in store.list_names(uri):
        store.delete(f"{uri}/{name}")
    with pytest.raises(NotFoundError, match=r"no \*\.safetensors file"):
        locate(uri, files=files)


@pytest.mark.parametrize("harm", ["changed", "cut off", "gone", "added"])
def test_a_damaged_copy_is_never_used(uri: str, cache: Path, harm: str) -> None:
    first = locate(uri)
    files = dict(first.files)
    path = first.folder / "tokenizer.json"
    whole = path.read_bytes()
    if harm == "added":
        (first.folder / "generation_config.json").write_text("{}")
    elif harm == "gone":
        path.unlink()
    else:
        path.write_bytes(whole.replace(b"a", b"b") if harm == "changed" else whole[:99])
    if harm != "added":
        with pytest.raises(ModelError, match=r"tokenizer\.json"):
            locate(uri, files=files).require_bytes("tokenizer.json")
        assert not first.folder.exists(), "it is fetched again"
    again = locate(uri)
    assert again.files == files
    assert (again.folder / "tokenizer.json").read_bytes() == whole
    assert locate(uri, files=files).require_bytes("tokenizer.json") == whole


def test_what_a_killed_process_left_is_neither_used_nor_kept(uri: str, cache: Path) -> None:
    digest = locate(uri).digest
    left = cache / f"{digest}.partial-0123"
    (cache / digest).rename(left)
    (left / "config.json").unlink()
    assert locate(uri).digest == digest
    files = dict(locate(uri).files)
    shutil.rmtree(cache / digest)
    assert locate(uri, files=files).digest == digest
    assert [path.name for path in entries(cache)] == [digest]


def test_an_index_that_lies_is_not_believed(uri: str, cache: Path) -> None:
    digest = locate(uri).digest
    for path in (cache / "index").glob("*.json") if (cache / "index").exists() else ():
        for text in ("{", '{"config.json": 3}', '{"config.json": "00"}', "[]"):
            path.write_text(text, encoding="utf-8")
            assert locate(uri).digest == digest


def test_many_that_fill_an_entry_at_once_leave_one(uri: str, cache: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: locate(uri), range(6)))
    assert len({checkpoint.digest for checkpoint in found}) == 1
    files = dict(found[0].files)
    assert [path.name for path in entries(cache)] == [found[0].digest]
    shutil.rmtree(cache)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: locate(uri, files=files), range(6)))
    assert entries(cache) == [found[0].folder]
    assert Checkpoint(found[0].folder).files == files


def test_a_file_uri_is_a_local_folder(goldens: Path, tmp_path: Path, cache: Path) -> None:
    folder = shutil.copytree(goldens / GOLDEN, tmp_path / "model")
    before = locate(f"file://{folder}")
    assert before.folder == folder
    digest = before.digest
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    assert locate(f"file://{folder}").digest != digest
    assert not cache.exists()


def test_an_address_without_weights_names_what_is_there() -> None:
    folder = f"memory://weights/{uuid.uuid4().hex}"
    for name in ("config.json", "pytorch_model.bin"):
        store.write_whole(store.join(folder, name), b"{}")
    with pytest.raises(NotFoundError, match=r"files found: config\.json, pytorch_model\.bin"):
        locate(folder)
