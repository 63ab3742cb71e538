"""``python -m benchmarks.compare`` as it is typed, with tiny networks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import compare as script

ROOT = Path(__file__).resolve().parents[2]


def compare(*words: object, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *map(str, words), "--cache", str(cache)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_comparison_prints_writes_and_draws(tmp_path: Path, cache: Path) -> None:
    written, plot = tmp_path / "deep" / "bench.json", tmp_path / "bench.svg"
    done = compare(
        "--shape", "tiny", "--device", "cpu", "--peers", "padded,jina-v2-policy",
        "--threads", 1, "--json", written, "--plot", plot, cache=cache,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "says nothing about speed" in done.stdout
    assert "How many times faster packed is" in done.stdout
    result = json.loads(written.read_text())
    assert result["command"].startswith("python -m benchmarks.compare --shape tiny --device cpu")
    assert result["machine"]["torch_threads"] == 1
    assert [each["name"] for each in result["contenders"]] == [
        "packed", "padded", "jina-v2-policy",
    ]  # fmt: skip
    assert {row["name"] for row in result["ratios"]} == {"padded", "jina-v2-policy"}
    assert plot.read_bytes().startswith(b"<?xml")

    both = tmp_path / "both.png"
    again = compare("--from", written, "--from", written, "--plot", both, cache=cache)
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
        (["--device", "tpu"], "--device: 'tpu' is not one of cpu, cuda"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = compare("--shape", "tiny", "--device", "cpu", *words, cache=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def documented() -> list[str]:
    """Every comparison that the README and docs/ name, in a shell block or in a sentence."""
    pages = (
        ROOT / "README.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("benchmarks", "figures")),
    )
    texts = [re.sub(r"\\\n\s*", "", page.read_text()) for page in pages]  # lines that go on
    return sorted(
        {
            line.split("  #")[0].strip()
            for text in texts
            for line in re.findall(r"python -m benchmarks\.compare[^`\n]*", text)
        }
    )


@pytest.mark.parametrize("line", documented())
def test_documented_comparisons_parse(line: str) -> None:
    """Options exist: click parses the line, with --help put where it would measure."""
    app = typer.Typer()
    app.command()(script.compare)
    words = shlex.split(line)[3:]
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    offered = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", done.output))
    assert {word for word in words if word.startswith("-")} <= offered
