"""`rerank latest`, `rollback` and `gc --keep-last`: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.errors import ExitCode
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications.record import path_of
from tests.refresh.publications.runs import make_run, publish_next


def rerank(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def runs(tmp_path: Path, believed_store: None) -> list[RunFolder]:
    return [make_run(str(tmp_path / "out"), tmp_path, seed) for seed in range(3)]


@pytest.fixture
def root(tmp_path: Path, runs: list[RunFolder]) -> Path:
    """Three nights."""
    for number, folder in enumerate(runs, start=1):
        gate = {"min_overlap": {"value": 0.75, "limit": 0.5, "passed": True}}
        publish_next(str(tmp_path / "out"), folder, number, gates=gate)
    return tmp_path / "out"


def test_latest_shows_what_counts(root: Path, runs: list[RunFolder]) -> None:
    shown = rerank("latest", root)
    assert shown.exit_code == 0, shown.stderr
    for text in (
        "publication  3",
        "2026-11-03",
        runs[2].path,
        "gate         min_overlap: 0.75 (limit 0.5) passed",
    ):
        assert text in shown.stdout
    found = json.loads(rerank("latest", root, "--json", "--files").stdout)
    assert (found["sequence"], found["date"], found["folder"]) == (3, "2026-11-03", runs[2].path)
    files = rerank("latest", root, "--files").stdout.split()
    assert files == found["files"]
    assert all(Path(name).is_file() for name in files)
    listed = rerank("latest", root, "--history").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["3", "2", "1"]


def test_nothing_published_and_a_changed_run_end_with_4(root: Path, runs: list[RunFolder]) -> None:
    for words in (["latest"], ["latest", "--history"], ["rollback", "--reason", "x"]):
        done = rerank(*words, root / "nowhere")
        assert done.exit_code == ExitCode.MISSING
        assert "nothing was published here" in done.stderr
    Path(runs[2].file("_SUCCESS")).unlink()
    done = rerank("latest", root)
    assert done.exit_code == ExitCode.MISSING
    assert "000000003.json: names run" in done.stderr
    assert rerank("rollback", root, "--reason", "it was changed").exit_code == 0
    assert "rollback     to publication 2: it was changed" in rerank("latest", root).stdout


def test_rollback_says_what_it_did_and_needs_a_reason(root: Path, runs: list[RunFolder]) -> None:
    assert rerank("rollback", root).exit_code == ExitCode.CONFIGURATION
    assert rerank("rollback", root, "--reason", " ").exit_code == ExitCode.CONFIGURATION
    done = rerank("rollback", root, "--to", 1, "--reason", "wrong titles")
    assert done.exit_code == 0, done.stderr
    assert f"{runs[0].path[-16:]} again: publication 4" in done.stdout
    again = rerank("rollback", root, "--to", 1, "--reason", "wrong titles")
    assert again.exit_code == 0
    assert "publication 4 names run" in again.stdout
    Path(path_of(str(root), 2)).write_bytes(b"")
    history = rerank("latest", root, "--history").stdout
    assert "rollback to 1: wrong titles" in history
    assert "2  damaged: " in history
    assert json.loads(rerank("latest", root, "--history", "--json").stdout)[2]["sequence"] == 2


def test_gc_takes_past_publications_and_their_runs(root: Path, runs: list[RunFolder]) -> None:
    assert "nothing to remove" in rerank("gc", root).stdout
    listed = rerank("gc", root, "--keep-last", 1, "--keep-days", 7)
    assert "nothing to remove" in listed.stdout, "they are past one limit only"
    listed = rerank("gc", root, "--keep-last", 1, "--older-than", 0)
    kinds = [line.split()[0] for line in listed.stdout.splitlines()]
    assert kinds == ["publication", "publication", "run", "run", "4"]
    done = rerank("gc", root, "--keep-last", 1, "--older-than", 0, "--delete")
    assert done.exit_code == 0, done.stderr
    assert [one for one in runs if Path(one.path).exists()] == [runs[2]]
    assert rerank("latest", root).exit_code == 0
    assert rerank("gc", root, "--keep-last", 0).exit_code == ExitCode.CONFIGURATION
