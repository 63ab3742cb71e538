"""A comparison as terminal tables, from the plain data that ``--json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.reports import bench_table as shared

Result = Mapping[str, Any]


def comparison_tables(result: Result) -> Group:
    """Speeds, ratios, agreement, and the host's part, with what they were taken on."""
    contenders = result["contenders"]
    parts: list[Table | Text] = [shared.subject_text(result), _speeds(result)]
    ours = [each for each in contenders if each["stages"]]
    if ours:
        parts.append(_stages(ours, result))
    parts.append(shared.memory_table(contenders))
    if len(contenders) > 1:
        parts += [_ratios(result), _agreement(result)]
    if result.get("end_to_end"):
        parts.append(shared.end_to_end_text(result["end_to_end"]))
    parts.append(shared.machine_text(result))
    return Group(*parts)


def _speeds(result: Result) -> Table:
    table = shared.table_of(
        "Whole passes, tokenisation included (medians; MFU by the clock and by CPU time)",
        ("docs/s", "least to most", "docs\n/cpu-s", "MFU", "MFU\ncpu", "padding"),
    )
    for each in result["contenders"]:
        table.add_row(
            each["name"],
            shared.speed(each["documents_per_s"]),
            shared.span(each, result["workload"]["documents"]),
            shared.speed(each["documents_per_cpu_s"]),
            shared.percent(each["mfu"]),
            shared.percent(each["mfu_cpu"]),
            shared.percent(each["padding_waste"]),
        )
    return table


def _stages(ours: list[Mapping[str, Any]], result: Result) -> Table:
    """The network alone, and CPU-seconds of each stage."""
    table = shared.table_of(
        "The network alone, as a replica runs it, and CPU-seconds per 1,000 documents",
        ("docs/s", "docs\n/cpu-s", "MFU", "MFU\ncpu", "busy", *ours[0]["stages"]),
    )
    for each in ours:
        network = each["network_only"]
        table.add_row(
            each["name"],
            shared.speed(network["documents_per_s"]),
            shared.speed(network["documents_per_cpu_s"]),
            shared.percent(network["mfu"]),
            shared.percent(network["mfu_cpu"]),
            shared.percent(each["device_busy"]),
            *shared.stage_costs(each, result["workload"]["documents"]),
        )
    table.caption, table.caption_justify = shared.host_caption(result), "left"
    return table


def _ratios(result: Result) -> Table | Text:
    """How many times faster the base is; a peer whose scores differ is not among them."""
    lines = []
    for name in result["not_compared"]:
        lines.append(
            f"{name}: not compared, its scores differ from {result['base']} by more than "
            f"{result['tolerance']:g}"
        )
    if any(row["wall"] is None for row in result["ratios"]):
        lines.append(f"no ratios: {result['rounds']} rounds are too few, at least 3 are needed")
        return Text("\n".join(map(visible, lines)))
    table = shared.table_of(
        f"How many times faster {result['base']} is (median, least to most)",
        ("by the clock", "by CPU time", "our network alone"),
        first="than",
    )
    for row in result["ratios"]:
        table.add_row(
            row["name"], *(_spread(row[key]) for key in ("wall", "cpu", "wall_to_network_only"))
        )
    lines.append("our network alone: against the other's whole pass, as encoding runs beside it")
    table.caption, table.caption_justify = "\n".join(lines), "left"
    return table


def _agreement(result: Result) -> Table:
    table = shared.table_of("Agreement of scores", (), first="")
    table.add_column("and", no_wrap=True)
    for heading in ("largest\ndifference", "top-10\noverlap", "Kendall's\ntau"):
        table.add_column(heading, justify="right")
    for pair in result["agreement"]:
        table.add_row(
            pair["first"],
            pair["second"],
            "not a number" if pair["most"] is None else f"{pair['most']:.1e}",
            f"{pair['overlap']:.4f}",
            f"{pair['tau']:.4f}",
        )
    return table


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} ({found['least']:.2f}–{found['most']:.2f})"
