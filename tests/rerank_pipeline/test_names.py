"""Packages of ours are found by their names, whatever lies before them on the path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rerank_pipeline.names
from rerank_pipeline.names import keep_names

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with packages of the same names, and a module."""
    for name in ("pipeline", "jobs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("whose = 'theirs'\n")
    (tmp_path / "mine.py").write_text("whose = 'theirs'\n")
    return tmp_path


def python(own: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", code], cwd=own, env={"PYTHONPATH": f"{own}:{ROOT}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_both_names_are_kept_and_no_other(own: Path) -> None:
    code = (
        "from rerank_pipeline.names import keep_names; keep_names(); keep_names()\n"
        "import sys, pipeline, jobs, pipeline.errors, mine\n"
        "print(sum('_Finder' in repr(one) for one in sys.meta_path))\n"
        "print(pipeline.__file__, jobs.__file__, mine.whose)\n"
    )
    done = python(own, code)
    assert done.returncode == 0, done.stderr
    count, places = done.stdout.splitlines()
    assert count == "1"
    assert places == f"{ROOT}/pipeline/__init__.py {ROOT}/jobs/__init__.py theirs"


def test_a_name_that_is_taken_before_is_an_error_that_says_by_what(own: Path) -> None:
    done = python(own, "import pipeline; import rerank_pipeline.names as n; n.keep_names()")
    assert f"ImportError: 'pipeline' of this process is {own}/pipeline, not " in done.stderr


def test_where_ours_was_imported_before_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    keep_names()
    assert sys.meta_path[0] is rerank_pipeline.names._Finder


def test_a_process_that_can_only_be_told_modules_forgets_the_working_folder(own: Path) -> None:
    done = python(own, "import rerank_pipeline.kept, pipeline.errors, sys; print(sys.path[0])")
    assert (done.returncode, done.stdout.strip()) == (0, str(own)), done.stderr  # PYTHONPATH's


@pytest.mark.parametrize("module", ["rerank_pipeline", "jobs.rerank"])
def test_the_command_starts_from_such_a_folder(own: Path, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, "--help"], cwd=own,
        env={"PYTHONPATH": f"{ROOT}:{own}"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, "Usage:" in done.stdout) == (0, True), done.stderr


def test_a_module_of_ours_runs_as_a_process(own: Path) -> None:
    (own / "pipeline" / "plain_text.py").write_text("raise SystemExit('theirs')\n")
    words = [sys.executable, "-m", "rerank_pipeline.module", "pipeline.plain_text"]
    done = subprocess.run(
        words, cwd=own, env={"PYTHONPATH": f"{own}:{ROOT}"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
