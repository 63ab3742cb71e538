from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from pipeline.reports.profile_table import profile_table

FOUND: dict[str, Any] = {
    "units": 8, "documents": 40_000, "tokens": 3_400_000,
    "wall_s": 0.5, "profiled_wall_s": 0.52, "kernel_s": 0.4,
    "device": {
        "window_s": 0.5, "busy_s": 0.4, "idle_s": 0.1, "gaps": 12, "longest_gap_s": 0.015,
    },
    "kernels": [
        {"name": "void at::native::" + "vec<" * 99, "seconds": 0.3, "share": 0.75, "count": 96},
        {"name": "gelu", "seconds": 0.1, "share": 0.25, "count": 48},
    ],
}  # fmt: skip


def shown(found: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(profile_table(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_kernels_their_sum_and_the_devices_waits_are_told_and_fit_80_columns() -> None:
    text = shown(FOUND)
    assert max(len(line) for line in text.splitlines()) <= 80
    told = " ".join(text.split())
    assert "... 300.00 75.0% 96" in told
    assert "gelu 100.00 25.0% 48" in told
    assert "400.0 ms of 500.0 ms by the clock (520.0 ms with the profiler)" in told
    assert "waiting 100.0 ms (20.0%)" in told
    assert "12 waits of 20 us or more, the longest 15.00 ms" in told


def test_on_a_cpu_there_is_no_device_to_wait() -> None:
    text = shown(FOUND | {"device": None})
    assert "Operators on the CPU" in text
    assert "waiting" not in text
