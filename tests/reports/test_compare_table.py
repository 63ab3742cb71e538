from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from pipeline.reports.compare_table import compare_tables
from tests.comparison.reports import model, report


def shown(found: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=120)
    console.print(compare_tables(found))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_what_stands_in_the_tables() -> None:
    place = "s3://models/teams/search/2026/cross-encoder-of-ours"
    lines = rows(shown(report(model("small", 0.55, 150.0), model(place, 0.65, 12.5))))
    assert "60 of 90 queries (seed 1), 200 documents, of in.parquet" in lines
    assert "first_stage 0.5000 – – 50.0%" in lines
    assert "small 0.5500 +0.0500 <0.001 50.0%" in lines
    assert "small cross_encoder 150.0 75.0–300.0 1.5× 7,500 50 10.0% 3" in lines
    ends = "+0.1000 -0.050 to +0.250 0.200 – 0.250 0.500 -0.125"
    [pair] = [line for line in lines if line.startswith("first_stage …") and line.endswith(ends)]
    assert f" …{place[-23:]} " in pair
    assert "(CPU: a processor, threads: 2)" in " ".join(lines)
    assert "Note: one thing." in lines


def test_without_judgements_there_is_no_quality() -> None:
    found = report(model("m", 0.5, 1_500.0), gpu="NVIDIA X") | {"measures": [], "first_stage": {}}
    found["pairs"] = [pair | {"measures": {}} for pair in found["pairs"]]
    text = shown(found)
    assert "Quality" not in text
    assert "nDCG" not in text
    assert "first_stage m 0.250 0.500 -0.125" in rows(text)
    assert "(CUDA: NVIDIA X)" in text
