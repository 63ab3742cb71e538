"""Processes without a home folder, with one that cannot be written, or in a deleted folder."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.locating import locate
from pipeline.checkpoints.lora import AdaptedCheckpoint
from pipeline.checkpoints.weights_cache import cache_root
from pipeline.cluster.access import protect_token_file
from pipeline.errors import NotFoundError
from pipeline.storage.home import absolute_path
from pipeline.storage.store import absolute, create_if_absent, list_names


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a name, as containers are given."""

    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError

    for name in ("HOME", "HF_HOME", "HF_HUB_CACHE", "RERANK_CACHE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (lambda: locate("~/x"), ["model.weights: '~/x'", "Set HOME", "user id {uid}"]),
        (lambda: locate("owner/name", "0" * 40), ["~/.cache/huggingface", "HF_HOME"]),
        (lambda: locate("memory://bucket/w"), ["RERANK_CACHE"]),
        (cache_root, ["~/.cache/rerank-pipeline", "RERANK_CACHE", "user id {uid}"]),
        (lambda: absolute("~/out"), ["'~/out'", "give the whole path"]),
        (lambda: absolute_path("~nobody-of-that-name/x"), ["~nobody-of-that-name/x"]),
        (lambda: AdaptedCheckpoint.of(Checkpoint(Path("/")), "~/a"), ["model.adapter: '~/a'"]),
        (protect_token_file, ["RAY_AUTH_TOKEN_PATH", "user id {uid}"]),
    ],
    ids=range(8),
)
def test_without_a_home_folder_what_to_set_is_said(
    homeless: None, need: Callable[[], object], words: list[str]
) -> None:
    with pytest.raises(NotFoundError) as caught:
        need()
    for word in words:
        assert word.format(uid=os.getuid()) in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RERANK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(NotFoundError, match=r"cache/weights: copies .* set RERANK_CACHE"):
        locate("memory://bucket/weights")


def test_a_folder_that_was_deleted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(NotFoundError, match=r"'out/x': relative to the folder .* been deleted"):
        absolute("out/x")
    assert absolute("/out/x") == "/out/x"
    assert absolute("s3://bucket/x") == "s3://bucket/x"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("s3:/bucket/out", "s3://bucket/out"),
        ("gs:/bucket", "gs://bucket"),
        ("file:/data/out", "file:///data/out"),
        ("hdfs:/out", "hdfs://out"),
        ("file://data/out", "file:///data/out"),
        ("file://host/out", "file:///host/out"),
    ],
)
def test_a_uri_with_a_slash_too_few_is_no_local_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match=f"write {meant}(/x)?[;,]"):
        list_names(path)
    with pytest.raises(NotFoundError, match=f"write {meant}(/x)?[;,]"):
        create_if_absent(f"{path}/x", b"")
    assert list(tmp_path.iterdir()) == []


def test_paths_that_only_look_like_uris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "a").touch()
    for path in (
        "s3:",
        "./s3:/",
        "s3:/",
        f"file://{tmp_path}/s3:",
        f"file://localhost{tmp_path}/s3:",
    ):
        assert list_names(path) == ["a"]
