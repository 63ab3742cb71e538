"""``rerank bench`` and ``benchmarks/gpu.sh`` as they are typed, with tiny networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Packages that a machine that only measures need not have.
ABSENT = ("ray", "s3fs", "ir_measures")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def bench(*words: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.bench", *map(str, words), "--cache", str(cache)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_bench_prints_writes_and_draws(tmp_path: Path, cache: Path) -> None:
    written, plot = tmp_path / "deep" / "bench.json", tmp_path / "bench.svg"
    done = bench(
        "--shape", "tiny", "--device", "cpu", "--peers", "padded,jina-v2-policy",
        "--threads", 1, "--json", written, "--plot", plot, cache=cache,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "says nothing about speed" in done.stdout
    assert "How many times faster packed is" in done.stdout
    result = json.loads(written.read_text())
    assert result["command"].startswith("python -m jobs.bench --shape tiny --device cpu")
    assert result["machine"]["torch_threads"] == 1
    assert [each["name"] for each in result["contenders"]] == [
        "packed", "padded", "jina-v2-policy",
    ]  # fmt: skip
    assert {row["name"] for row in result["ratios"]} == {"padded", "jina-v2-policy"}
    assert plot.read_bytes().startswith(b"<?xml")

    both = tmp_path / "both.png"
    again = bench("--from", written, "--from", written, "--plot", both, cache=cache)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("How many times faster packed is") == 2
    assert both.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workload", "marco"], "--workload: no workload 'marco'"),
        (["--engine", "fast"], "--engine: 'fast' is not one of auto, packed, padded, all"),
        (["--size", "xl"], "--size: 'xl' is not one of s, m, l"),
        (["--plot", "out.gif"], "--plot: '.gif' is not one of"),
        (["--peers", "tei"], "--peers: no peer 'tei'"),
        (["--model", "jina-v3"], "--model: jina-v3 does not suit"),
        (["--from", "nowhere.json"], "--from nowhere.json"),
        (["--from", "a.json", "--end-to-end"], "--from: measures nothing"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = bench("--shape", "tiny", "--device", "cpu", *words, cache=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_gpu_set_runs_without_the_packages_that_such_a_machine_lacks(
    tmp_path: Path, cache: Path
) -> None:
    """The script itself, on CPU with tiny networks: every bench of the set, one file each."""
    stubs = tmp_path / "absent"
    stubs.mkdir()
    for name in ABSENT:
        (stubs / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh", "--device", "cpu", "--size", "s",
         "--shape", "tiny", "--rounds", "1", "--cache", str(cache)],
        cwd=tmp_path,
        env={
            **os.environ, "PYTHON": sys.executable, "OUT": str(out), "PYTHONPATH": str(stubs),
            "COLUMNS": "80",
        },
        capture_output=True,
        text=True,
        timeout=540,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    workloads = {result["workload"]["name"] for result in found.values()}
    assert workloads == {"msmarco", "list64x100", "yesno", "page768", "doc1024"}
    assert {result["workload"]["reuse"] for result in found.values()} == {1, 10, 50}
    assert all(result["not_compared"] == [] for result in found.values())
    assert all(result["command"].startswith("rerank bench ") for result in found.values())


def test_the_gpu_script_says_what_the_machine_lacks(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    # An interpreter that has the standard library and nothing else.
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "benchmarks" / "gpu.sh"],
        env={**os.environ, "PYTHON": str(bare), "WHEELS": str(tmp_path / "none")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "lacks: torch transformers" in done.stderr


@pytest.mark.nightly
def test_a_bench_through_ray(tmp_path: Path, cache: Path) -> None:
    written = tmp_path / "bench.json"
    done = bench(
        "--shape", "tiny", "--device", "cpu", "--peers", "none", "--rounds", 1, "--size", "m",
        "--threads", 1, "--end-to-end", "--json", written, cache=cache,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(written.read_text())["end_to_end"]
    assert found["files"] == 12
    assert found["documents_in_window"] < 10_000
    assert found["ratio"] > 0
    assert 0 <= found["starved"] <= 1
    assert "Through Ray" in done.stdout
