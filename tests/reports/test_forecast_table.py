"""What a plan shows of devices, on terminals of any width."""

from __future__ import annotations

import io

import pytest

from pipeline.reports.forecast_table import devices_table
from pipeline.reports.terminal import Terminal

DEVICE = {
    "device": "NVIDIA H100 80GB HBM3", "kind": "cuda", "dtype": "bfloat16", "basis": "measured",
    "count": 2, "here": True, "documents_per_s": [300.0, 598.0], "hours": [0.5, 1.0],
    "seconds": [900.0, 1800.0], "cost": [0.75, 7.0], "origin": "x", "own": False,
}  # fmt: skip


def printed(width: int) -> str:
    console = Terminal(width=width)
    console.file = io.StringIO()
    console.print(devices_table({"devices": [DEVICE], "currency": "USD"}))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_nothing_of_a_device_is_left_out_on_a_narrow_terminal(width: int) -> None:
    said = printed(width)
    assert all(len(line) <= width for line in said.splitlines())
    assert sorted("".join(said.split())) == sorted("".join(printed(120).split()))
