from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from benchmarks.harness.plot import bench_plot, check_plot
from pipeline.errors import ConfigurationError
from tests.benchmarks.harness.results import bench_result


def texts(svg: bytes) -> list[str]:
    return [part.strip() for part in re.findall(r"<text[^>]*>([^<]*)</text>", svg.decode())]


def test_bars_carry_speeds_and_the_ratios_that_may_be_said() -> None:
    found = texts(bench_plot([bench_result()], "svg"))
    assert "msmarco, minilm-l6 float32, A processor" in found
    assert {"packed", "st-predict", "other"} <= set(found)
    assert "500   packed is 2.00× as fast" in found
    assert "2,000" in found  # faster, but with other scores: no ratio
    assert "documents per CPU-second" in found


def test_a_gpu_is_shown_by_the_clock_and_a_tiny_network_as_such() -> None:
    result = bench_result(scale="tiny") | {"device": "cuda"}
    result["machine"]["gpu"] = "A GPU"
    found = texts(bench_plot([result], "svg"))
    assert "msmarco, minilm-l6 float32, tiny network, A GPU" in found
    assert "documents per second" in found


def test_the_same_figures_give_the_same_file() -> None:
    results = [bench_result(), bench_result(rounds=2)]
    for kind in ("svg", "png"):
        assert bench_plot(results, kind) == bench_plot(results, kind)


def test_every_result_has_a_panel() -> None:
    one, two = (
        Image.open(io.BytesIO(bench_plot([bench_result()] * count, "png"))) for count in (1, 2)
    )
    assert one.format == "PNG"
    assert two.height == pytest.approx(2 * one.height, rel=0.02)


def test_other_formats_and_a_missing_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"'\.jpg' is not one of \.svg, \.png"):
        bench_plot([bench_result()], "jpg")
    monkeypatch.setattr("benchmarks.harness.plot.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match="install the extra `report`"):
        check_plot("png")
