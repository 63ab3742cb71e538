"""``benchmarks/gpu.sh`` as it is typed, with tiny networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu import ENTRIES

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
    found = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    workloads = {result["workload"]["name"] for result in found.values()}
    assert len(found) == len(ENTRIES)
    assert workloads == {"msmarco", "list64x100", "list64x250", "yesno", "page768", "doc1024"}
    assert {result["workload"]["reuse"] for result in found.values()} == {1, 10, 50}
    assert all(result["not_compared"] == [] for result in found.values())
    assert all(result["profile"]["kernels"] for result in found.values())
    assert "no ray here: the run through Ray is left out" in done.stdout + done.stderr
    assert all(
        result["command"].startswith("python -m benchmarks.compare ") for result in found.values()
    )


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
