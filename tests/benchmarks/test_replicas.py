"""The ways to share CPUs out, and a round of the one that needs no Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import replicas

MODEL = Path(__file__).resolve().parents[1] / "goldens" / "ms-marco-minilm-tiny"


def test_every_way_uses_every_cpu() -> None:
    assert replicas.ways(4) == [
        ("cluster", 4, 1), ("cluster", 2, 2), ("cluster", 1, 4), ("process", 1, 4)
    ]  # fmt: skip
    assert replicas.ways(1) == [("cluster", 1, 1), ("process", 1, 1)]


def test_a_round_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "ways", lambda count: [("process", 1, 1)])
    app = typer.Typer()
    app.command()(replicas.main)
    options = ["--documents", "1000", "--rounds", "1"]
    done = CliRunner().invoke(app, [*options, "--model", str(MODEL)])
    assert done.exit_code == 0, done.output
    assert "process  1 x 1 threads" in done.output
    assert "documents per CPU-second" in done.output
