"""``rerank bench`` as it is typed, with tiny networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app

ROOT = Path(__file__).resolve().parents[2]

#: What an installed package need not have: the extras, and the repository's own comparisons.
ABSENT = ("sentence_transformers", "matplotlib", "benchmarks")


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose modules refuse to be imported."""
    folder = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    return folder


def bench(*words: object, folder: Path, absent: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.bench", "--shape", "tiny", "--device", "cpu",
         *map(str, words), "--cache", str(folder / "cache")],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": f"{absent}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip


def test_a_bench_needs_the_package_alone_and_prints_and_writes(
    tmp_path: Path, absent: Path
) -> None:
    written = tmp_path / "deep" / "bench.json"
    done = bench("--threads", 1, "--json", written, folder=tmp_path, absent=absent)
    assert done.returncode == 0, done.stderr
    assert "says nothing about speed" in done.stdout
    assert "Whole passes" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "packed" in line) <= 80
    result = json.loads(written.read_text())
    assert result["command"].startswith("python -m jobs.bench --shape tiny --device cpu")
    assert result["machine"]["torch_threads"] == 1
    assert result["engine"]["name"] == "packed"
    assert "end_to_end" not in result


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workload", "marco"], "--workload: no workload 'marco'"),
        (["--engine", "fast"], "--engine: 'fast' is not one of auto, packed, padded"),
        (["--engine", "all"], "--engine: 'all' is not one of auto, packed, padded"),
        (["--size", "xl"], "--size: 'xl' is not one of s, m, l"),
        (["--shape", "huge"], "--shape: 'huge' is not one of real, tiny"),
        (["--device", "tpu"], "--device: 'tpu' is not one of cpu, cuda"),
        (
            ["--dtype", "int4"],
            "--dtype: 'int4' is not one of auto, float32, bfloat16, float16",
        ),
        (["--model", "jina-v3"], "--model: jina-v3 does not suit"),
        (["--run-documents", "9"], "--run-documents: says how many documents the run"),
        (["--peers", "st-rank"], "No such option: --peers"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path
) -> None:
    words = ["bench", "--device", "cpu", "--shape", "tiny", "--cache", str(tmp_path), *words]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_a_single_unit_has_no_pace(tmp_path: Path) -> None:
    words = ["--shape", "tiny", "--device", "cpu", "--cache", str(tmp_path), "--end-to-end"]
    done = CliRunner().invoke(app, ["bench", "--workload", "list64x100", *words])
    assert done.exit_code == 2, done.output
    assert "--end-to-end: list64x100 of size s is a single unit" in done.stderr


@pytest.mark.nightly
def test_a_bench_through_ray(tmp_path: Path, absent: Path) -> None:
    written = tmp_path / "bench.json"
    done = bench(
        "--rounds", 1, "--size", "s", "--threads", 1, "--end-to-end", "--run-documents", 700,
        "--json", written, folder=tmp_path, absent=absent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(written.read_text())["end_to_end"]
    # Four lists of 50 in each of four copies; at least twelve units are of two lists at most.
    assert (found["documents"], found["unit_documents"], found["files"]) == (800, 100, 8)
    assert found["documents_in_window"] == 700
    assert found["ratio"] > 0
    assert found["device_busy"] + found["starved"] == pytest.approx(1)
    assert 0 < found["first_file_s"] < found["run_s"]
    assert "Through Ray" in done.stdout
