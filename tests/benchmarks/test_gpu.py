"""``benchmarks/gpu.sh`` as it is typed, with tiny networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import ENTRIES, Entry

ROOT = Path(__file__).resolve().parents[2]

#: Packages that a machine that only measures need not have.
ABSENT = ("ray", "s3fs", "ir_measures")


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
    told = done.stdout + done.stderr
    found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    workloads = {result["workload"]["name"] for result in found.values()}
    assert len(found) == len(ENTRIES)
    assert workloads == {"msmarco", "list64x100", "list64x250", "yesno", "page768", "doc1024"}
    assert {result["workload"]["reuse"] for result in found.values()} == {1, 10, 50}
    assert all(result["not_compared"] == [] for result in found.values())
    assert all(result["profile"]["kernels"] for result in found.values())
    assert "no ray here: the run through Ray is left out (ray is not there)" in told
    assert all(
        result["command"].startswith("python -m benchmarks.compare ") for result in found.values()
    )


BENCHES = """
import os, sys, time
words = sys.argv[1:]
names = [words[i + 1] for i, word in enumerate(words) if word == "--only"]
told = words[words.index("--progress") + 1]
for name in names:
    def tell(word):
        with open(told, "a") as file:
            file.write(f"{word} {name}\\n")
    if name == "long":
        tell("left")
        continue
    tell("began")
    if name == "fault":
        os.abort()
    while name == "hang":
        time.sleep(1)
    tell("failed" if name == "error" else "done")
"""


def entry(name: str) -> Entry:
    return Entry(part=1, name=name, options={}, seconds=0.1)


def test_no_bench_takes_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not by failing, by ending its process, nor by never ending."""
    monkeypatch.setattr(gpu, "_LEAST_S", 2.0)
    script = tmp_path / "benches.py"
    script.write_text(BENCHES)
    names = ["first", "error", "fault", "second", "hang", "long", "third"]
    missed = gpu.run_part(
        [sys.executable, str(script)], [entry(name) for name in names], seconds=500
    )
    assert missed == ["error", "fault", "hang", "long"]
    told = capfd.readouterr().out
    assert "fault: its process ended with -6" in told
    assert "hang: ended after" in told


def test_benches_whose_process_never_begins_are_all_missed(tmp_path: Path) -> None:
    script = tmp_path / "benches.py"
    script.write_text("raise SystemExit(3)")
    entries = [entry("first"), entry("second")]
    assert gpu.run_part([sys.executable, str(script)], entries, seconds=500) == ["first", "second"]


def test_a_process_that_never_begins_is_ended_in_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As where importing torch, or waking the GPU, hangs."""
    script = tmp_path / "benches.py"
    script.write_text("import time\nwhile True:\n    time.sleep(1)\n")
    assert gpu.run_part([sys.executable, str(script)], [entry("first")], seconds=1) == ["first"]
    assert "no bench had begun" in capfd.readouterr().out


def test_each_part_is_expected_to_end_in_four_and_a_half_minutes() -> None:
    for part in (1, 2):
        assert sum(entry.seconds for entry in ENTRIES if entry.part == part) <= 255


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
