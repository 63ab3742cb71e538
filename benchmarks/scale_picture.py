"""The curve of :mod:`benchmarks.scale`: what a driver takes by the number of units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Memory that a driver may take, in MiB.
LIMIT_MIB: Final = 4_096

_STEPS: Final = ("first session", "status of half", "second session", "status", "status --check")


def draw(runs: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw CPU seconds and peak memory of every step over the number of units, both from zero.

    Args:
        runs: steps by the number of units.
        path: of the picture, whose ending is its format.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    sizes = sorted(map(int, runs))
    figure, (cpu, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in _STEPS:
        steps = [next(s for s in runs[str(size)] if s["name"] == name) for size in sizes]
        thousands = [size / 1_000 for size in sizes]
        cpu.plot(thousands, [step["cpu_s"] for step in steps], marker="o", label=name)
        memory.plot(thousands, [step["peak_mib"] for step in steps], marker="o", label=name)
    cpu.set(title="CPU of the driver", ylabel="seconds", ylim=(0, None))
    memory.set(title=_title(runs), ylabel="MiB", ylim=(0, None))
    for axes in (cpu, memory):
        axes.set(xlabel="units, thousands", xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    cpu.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def reach(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> int | None:
    """Units at which :data:`LIMIT_MIB` is reached, straight on from two sizes.

    None of a single size.
    """
    peaks = {int(size): max(step["peak_mib"] for step in steps) for size, steps in runs.items()}
    (low, least), (high, most) = min(peaks.items()), max(peaks.items())
    return None if low == high else round(high + (LIMIT_MIB - most) * (high - low) / (most - least))


def _title(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    units = reach(runs)
    told = "" if units is None else f"; 4 GiB at {round(units, -len(str(units)) + 2):,} units"
    return f"Highest resident set{told}"
