"""What a build knows of itself: from its own file, from a checkout, or from nowhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pipeline import build_info
from pipeline.build_info import Build


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(build_info.VARIABLE, raising=False)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    made = Build(commit="0123abc", date="2026-11-28")
    build_info.write(tmp_path, made)
    assert build_info.of_package(tmp_path) == made
    assert str(made) == "0123abc, 2026-11-28"


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', '{"commit": "a"}'])
def test_a_damaged_file_is_no_build(tmp_path: Path, text: str) -> None:
    (tmp_path / build_info.FILE).write_text(text)
    assert build_info.of_package(tmp_path) is None


def test_a_checkout_has_its_commit_and_says_where_files_differ(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=n@example.com")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init")
    assert build_info.of_checkout(tmp_path) is None, "no commit yet"
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    found = build_info.of_checkout(tmp_path)
    assert found is not None
    assert re.fullmatch(r"[0-9a-f]{7,}", found.commit)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
    (tmp_path / "file").write_text("two")
    changed = build_info.of_checkout(tmp_path)
    assert changed is not None and changed.commit == found.commit + "+"


def test_a_tree_without_git_is_told_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build_info.of_checkout(tmp_path) is None
    monkeypatch.setenv(build_info.VARIABLE, "0123abc 2026-11-28")
    assert build_info.of_checkout(tmp_path) == Build(commit="0123abc", date="2026-11-28")
    monkeypatch.setenv(build_info.VARIABLE, "0123abc")
    assert build_info.of_checkout(tmp_path) == Build(commit="0123abc", date="")


def test_the_version_names_python_and_every_library() -> None:
    first, second, *others = build_info.version_lines("1.2.3")
    assert first.startswith("rerank-pipeline 1.2.3")
    assert second.startswith("python 3.")
    assert [line.split()[0] for line in others] == list(build_info.LIBRARIES)
    assert all(re.search(r" \d+\.\d+", line) for line in others)
