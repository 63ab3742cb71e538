from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from pipeline.reports.bench_table import bench_tables
from tests.benchmarks.harness.results import bench_result

THROUGH = {
    "documents_per_s": 95.0, "engine_documents_per_s": 100.0, "ratio": 0.95, "starved": 0.03,
}  # fmt: skip


def alone(**more: Any) -> dict[str, Any]:
    """A bench of the engine alone: what a comparison holds, less what compares."""
    result = bench_result(**more)
    engine = result["contenders"][0]
    for key in ("peak", "base", "contenders", "ratios", "tolerance", "not_compared", "agreement"):
        del result[key]
    for key in ("ours", "mfu", "mfu_cpu"):
        del engine[key]
    for key in ("mfu", "mfu_cpu"):
        del engine["network_only"][key]
    return result | {"engine": engine}


def shown(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(bench_tables(result))
    return console.file.getvalue()  # type: ignore[attr-defined]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip().startswith("packed")]


def test_speed_network_and_memory_are_told_and_fit_80_columns() -> None:
    text = shown(alone())
    assert rows(text) == [
        ["packed", "1,000", "800.0–1,250", "1,000", "0.0%", "50.0%"],
        ["packed", "2,000", "4,000", "0.250", "0.250"],
        ["packed", "86,000", "512", "–"],
    ]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_what_it_was_taken_on_is_told() -> None:
    text = " ".join(shown(alone()).split())
    assert "A processor, 2 CPUs, 1 torch thread; load 0.1 before, 1.0 after" in text
    assert "digest 0123456789abcdef" in text
    assert "encode 0.200, carry 0.010" in text
    assert "464 bytes per document" in text


def test_a_tiny_network_says_that_it_means_nothing() -> None:
    assert "says nothing about speed" in shown(alone(scale="tiny"))
    assert "says nothing about speed" not in shown(alone())


def test_a_run_through_ray_is_one_line_more() -> None:
    text = " ".join(shown(alone() | {"end_to_end": THROUGH}).split())
    assert "95.0 documents/s steady, 100.0 the engine alone: ratio 0.950" in text
    assert "Ray" not in shown(alone())
