"""Wheel and sdist, built as a release is; the wheel is installed, and runs from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import pipeline
from pipeline import build_info

ROOT = Path(__file__).resolve().parents[2]
TOLD = "0123abc 2026-11-28"


def run(*words: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, made from the sdist, and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    words = ("-m", "build", "--no-isolation", "--outdir", out, ROOT)
    run(sys.executable, *words, cwd=out, **{build_info.VARIABLE: TOLD})
    [wheel], [sdist] = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment that has the wheel; its libraries are those of this one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    words = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", archives[0])
    run(sys.executable, *words, cwd=folder)
    [site] = folder.glob("lib/python3.*/site-packages")
    # A plain path: this environment's own editable install is no part of it.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_both_carry_the_commit_and_all_of_conf(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[0]) as wheel:
        names = set(wheel.namelist())
        assert json.loads(wheel.read("pipeline/build.json"))["commit"] == "0123abc"
    with tarfile.open(archives[1]) as sdist:
        sources = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pipeline/build.json", "setup.py", "constraints.txt", "CHANGELOG.md"} <= sources
    conf = [p.relative_to(ROOT) for p in (ROOT / "conf").rglob("*") if p.is_file()]
    data = f"rerank_pipeline-{pipeline.__version__}.data/data/share/rerank-pipeline"
    assert {f"{data}/{path}" for path in conf} <= names
    assert {str(path) for path in conf} <= sources
    packages = {name.split("/")[0] for name in names}
    assert packages == {
        "pipeline",
        "jobs",
        "rerank_pipeline",
        f"rerank_pipeline-{pipeline.__version__}.data",
        f"rerank_pipeline-{pipeline.__version__}.dist-info",
    }


def test_the_installed_command_says_which_build_it_is(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "rerank", "--version", cwd=tmp_path).stdout
    assert printed.startswith(f"rerank-pipeline {pipeline.__version__} (0123abc, 2026-11-28)\n")


def test_the_demo_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    words = ("demo", "--model", "lexical")
    printed = run(installed / "rerank", *words, cwd=tmp_path, HF_HUB_OFFLINE="1").stdout
    assert "nDCG@10" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(tmp_path.glob("out/demo/runs/*/_SUCCESS"))
    # So little needs no Ray, whose workers must find the wheel as well.
    job = run(installed / "rerank", *words, "--print-config", cwd=tmp_path).stdout
    (tmp_path / "job.yaml").write_text(job, encoding="utf-8")
    sets = ("--set", "ray.mode=cluster", "--set", "output.path=out/on-ray")
    run(installed / "rerank", "run", "-c", "job.yaml", *sets, cwd=tmp_path)
    assert list(tmp_path.glob("out/on-ray/*/_SUCCESS"))


def test_completion_knows_the_commands(installed: Path, tmp_path: Path) -> None:
    asked = {"_RERANK_COMPLETE": "complete_bash", "COMP_WORDS": "rerank ru", "COMP_CWORD": "1"}
    assert run(installed / "rerank", cwd=tmp_path, **asked).stdout.split() == ["run"]
