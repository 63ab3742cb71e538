from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.harness.tables import comparison_tables
from tests.benchmarks.harness.results import bench_result


def shown(result: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(comparison_tables(result))
    return console.file.getvalue()  # type: ignore[attr-defined]


def row(text: str, *words: str) -> str:
    return next(line for line in text.splitlines() if all(word in line for word in words))


def test_speeds_stand_beside_their_spread_and_fit_80_columns() -> None:
    text = shown(bench_result())
    assert row(text, "packed", "800.0–1,250").split() == [
        "packed", "1,000", "800.0–1,250", "1,000", "50.0%", "60.0%", "0.0%",
    ]  # fmt: skip
    assert row(text, "st-predict", "18.1%").split()[1:3] == ["500.0", "400.0–625.0"]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text


def test_stages_and_host_are_per_thousand_documents() -> None:
    text = shown(bench_result())
    assert row(text, "packed", "2,000").split() == [
        "packed", "2,000", "4,000", "75.0%", "80.0%", "50.0%", "0.250", "0.250",
    ]  # fmt: skip
    assert "encode 0.200, carry 0.010" in " ".join(text.split())
    assert "464 bytes per document" in " ".join(text.split())


def test_ratios_have_least_and_most_and_leave_out_who_differs() -> None:
    text = shown(bench_result())
    assert row(text, "st-predict", "(1.75–2.50)").split()[1:] == [
        "2.00", "(1.75–2.50)", "2.00", "(1.75–2.50)", "4.00", "(3.75–4.50)",
    ]  # fmt: skip
    flat = " ".join(text.split())
    assert "other: not compared, its scores differ from packed by more than 0.0001" in flat
    assert row(text, "packed", "other", "0.2000").split()[2:5] == ["not", "a", "number"]


def test_too_few_rounds_give_no_ratio() -> None:
    text = " ".join(shown(bench_result(rounds=2)).split())
    assert "no ratios: 2 rounds are too few, at least 3 are needed" in text
    assert "times faster" not in text


def test_a_tiny_network_says_that_it_means_nothing() -> None:
    assert "says nothing about speed" in shown(bench_result(scale="tiny"))
    assert "says nothing about speed" not in shown(bench_result())


def test_what_it_was_taken_on_is_told() -> None:
    text = " ".join(shown(bench_result()).split())
    assert "A processor, 2 CPUs, 1 torch thread; peak 0.100 TFLOP/s" in text
    assert "load 0.1 before, 1.0 after" in text
    assert "digest 0123456789abcdef" in text


def test_a_run_through_ray_is_one_line_more() -> None:
    through = {
        "documents_per_s": 95.0, "engine_documents_per_s": 100.0, "ratio": 0.95, "starved": 0.03,
    }  # fmt: skip
    text = " ".join(shown(bench_result() | {"end_to_end": through}).split())
    assert "95.0 documents/s steady, 100.0 the engine alone: ratio 0.950" in text
    assert "waiting 3.0% of the time" in text
    assert "Ray" not in shown(bench_result())


@pytest.mark.parametrize("alone", [True, False])
def test_nobody_is_compared_with_nobody(alone: bool) -> None:
    result = bench_result()
    if alone:
        result |= {"contenders": result["contenders"][:1], "ratios": [], "agreement": []}
    assert ("Agreement" in shown(result)) is not alone
