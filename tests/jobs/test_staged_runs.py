"""What the commands say of a staged copy, before it is there and afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.staging.layouts import beir, collection, scattered_long


def said(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def job(tmp_path: Path) -> tuple[str, ...]:
    output = tmp_path / "out"
    settings = [
        "model.name=lexical", f"output.path={output}", "ray.mode=in_process", "report.page=false",
    ]  # fmt: skip
    return tuple(word for setting in settings for word in ("--set", setting))


@pytest.mark.usefixtures("believed_store")
def test_a_collection_is_explained_ranked_and_found_again(
    tmp_path: Path, job: tuple[str, ...]
) -> None:
    path = beir(tmp_path, collection())["path"]
    words = (*job, "--set", f"input.path={path}")
    dry = said("run", *words, "--dry-run")
    assert "candidates 1 file, trec" in dry
    assert "staging in_memory: about 0 MiB in all, no more than 256 MiB" in dry
    assert "not there yet; the run makes it first" in dry
    planned = json.loads(CliRunner().invoke(app, ["plan", *words, "--json"]).output)
    assert planned["staging"]["strategy"]["kind"] == "in_memory"
    assert not (tmp_path / "out").exists()
    ran = said("run", *words)
    assert "made in" in ran
    assert "180 documents" in ran
    again = said("run", *words)
    assert "made before" in again
    assert "finished before; nothing to do" in again
    assert "units up to" in said("plan", *words)
    assert "staged copy in_memory, 1 file" in said("status", tmp_path / "out")


@pytest.mark.usefixtures("believed_store")
def test_scattered_queries_are_said_to_be(tmp_path: Path, job: tuple[str, ...]) -> None:
    path = scattered_long(tmp_path, collection())["path"]
    ran = said("run", *job, "--set", f"input.path={path}")
    assert "staging in_memory" in ran
    assert "1 file, 180 rows, long layout" in ran
