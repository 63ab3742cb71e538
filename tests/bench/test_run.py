"""The bench of the engine alone, with tiny networks: what is measured, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.bench.options import BenchOptions
from pipeline.bench.preparing import prepare
from pipeline.bench.run import measure
from pipeline.errors import ConfigurationError


def measured(cache: Path, workload: str = "msmarco", **options: Any) -> dict[str, Any]:
    asked = BenchOptions(workload=workload, cache=cache, scale="tiny", **options)
    return measure(prepare(asked)).plain()


@pytest.fixture(scope="module")
def result(cache: Path) -> dict[str, Any]:
    return measured(cache, unit_documents=60)


def test_the_result_is_plain_data(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_figures_follow_from_the_passes(result: dict[str, Any]) -> None:
    work, engine = result["workload"], result["engine"]
    wall, cpu = engine["wall_s"], engine["cpu_s"]
    assert engine["name"] == "packed"
    assert engine["padding_waste"] == 0
    assert wall["least"] <= wall["median"] <= wall["most"]
    assert engine["documents_per_s"] == pytest.approx(work["documents"] / wall["median"])
    assert engine["documents_per_cpu_s"] == pytest.approx(work["documents"] / cpu["median"])
    assert engine["tokens_per_s"] == pytest.approx(work["tokens"] / wall["median"])
    forward = engine["stages"]["forward"]
    assert set(engine["stages"]) == {"encode", "forward", "decode"}
    assert engine["network_only"]["documents_per_s"] == pytest.approx(
        work["documents"] / forward["wall_s"]
    )
    assert engine["device_busy"] + engine["device_starved"] == pytest.approx(1)
    assert engine["peak_rss_bytes"] > 2**26
    assert result["model"]["gflop_per_document"] > 0


def test_another_way_does_the_same_work_with_padding(cache: Path, result: dict[str, Any]) -> None:
    padded = measured(cache, engine="padded", rounds=1)
    assert padded["engine"]["name"] == "padded"
    assert padded["engine"]["padding_waste"] > 0
    assert padded["workload"]["digest"] == result["workload"]["digest"]


@pytest.mark.parametrize("workload", ["yesno", "page768"])
def test_what_prompts_share_counts_once(cache: Path, workload: str) -> None:
    found = measured(cache, workload, reuse=2, rounds=1)
    assert found["engine"]["documents_per_s"] > 0
    assert found["workload"]["tokens_shared"] < found["workload"]["tokens"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workload": "msmarc"}, "no workload 'msmarc'; there are msmarco"),
        ({"model": "jina-v3"}, "jina-v3 does not suit the workload msmarco"),
        ({"model": "bert"}, "'bert' is no shape"),
        ({"size": "xl"}, "--size: 'xl' is not one of s, m, l"),
        ({"run_documents": 1_000}, "--run-documents: .* add --end-to-end, or leave it out"),
    ],
)
def test_options_that_cannot_be_are_refused(
    cache: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BenchOptions(cache=cache, **options)
