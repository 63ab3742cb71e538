"""A profile of the engine as a terminal table, from the plain data of ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table

from pipeline.plain_text import visible
from pipeline.plurals import counted
from pipeline.reports.bench_table import percent, table_of

#: Characters of a kernel's name; those of templates are hundreds long.
_NAME: Final = 48


def profile_table(found: Mapping[str, Any]) -> Table:
    """Kernels by the time that they took, the sum against the clock, and what the device waited."""
    device = found["device"]
    table = table_of(
        "Kernels on the GPU" if device else "Operators on the CPU, without what they call",
        ("ms", "share", "count"),
        first="kernel" if device else "operator",
    )
    for row in found["kernels"]:
        table.add_row(
            _short(row["name"]),
            f"{1e3 * row['seconds']:,.2f}",
            percent(row["share"]),
            f"{row['count']:,}",
        )
    lines = [
        f"{counted(found['documents'], 'document')}, units {found['units']:,}, "
        f"{counted(found['tokens'], 'token')}: {1e3 * found['kernel_s']:,.1f} ms of "
        f"{1e3 * found['wall_s']:,.1f} ms by the clock "
        f"({1e3 * found['profiled_wall_s']:,.1f} ms with the profiler)"
    ]
    if device:
        lines.append(
            f"device busy {1e3 * device['busy_s']:,.1f} ms and waiting "
            f"{1e3 * device['idle_s']:,.1f} ms ({percent(_share(device))}) between its first and "
            f"last kernel; {device['gaps']:,} waits of 20 us or more, the longest "
            f"{1e3 * device['longest_gap_s']:,.2f} ms"
        )
    table.caption, table.caption_justify = "\n".join(lines), "left"
    return table


def _share(device: Mapping[str, float]) -> float | None:
    return device["idle_s"] / device["window_s"] if device["window_s"] else None


def _short(name: str) -> str:
    plain = visible(name)
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 3]}..."
