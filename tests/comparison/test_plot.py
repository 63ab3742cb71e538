from __future__ import annotations

import re

from pipeline.comparison.plot import quality_speed_plot
from tests.comparison.reports import model, report


def test_every_model_has_its_name_and_the_same_report_gives_the_same_bytes() -> None:
    names = [f"model {letter} $x_1$ <&>" for letter in "abcdefghi"]
    found = report(*(model(name, 0.5 + n / 30, 10.0 * 2**n) for n, name in enumerate(names)))
    drawn = quality_speed_plot(found, "svg")
    assert drawn == quality_speed_plot(found, "svg")
    texts = re.findall(r">([^<>]+)</text>", drawn.decode())
    for name in names:
        shown = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        assert any(text.startswith(shown) for text in texts), name
    assert "first stage 0.5000" in texts
    assert quality_speed_plot(found, "png").startswith(b"\x89PNG")


def test_on_a_gpu_its_name_is_beside_the_speed() -> None:
    drawn = quality_speed_plot(report(model("m", 0.6, 0.5), gpu="NVIDIA X"), "svg").decode()
    assert "documents per second, NVIDIA X (log)" in drawn
