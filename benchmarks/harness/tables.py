"""A bench as terminal tables, from the plain data that ``rerank bench --json`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible

Result = Mapping[str, Any]

_NONE = "–"


def bench_tables(result: Result) -> Group:
    """Speeds, ratios, agreement, and the host's part, with what they were taken on."""
    parts: list[Table | Text] = [_subject(result), _speeds(result)]
    ours = [each for each in result["contenders"] if each["stages"]]
    if ours:
        parts.append(_stages(ours, result))
    parts.append(_memory(result))
    if len(result["contenders"]) > 1:
        parts += [_ratios(result), _agreement(result)]
    if result.get("end_to_end"):
        parts.append(_end_to_end(result["end_to_end"]))
    parts.append(_machine(result))
    return Group(*parts)


def _subject(result: Result) -> Text:
    work, model = result["workload"], result["model"]
    lines = [
        f"{work['name']} {work['size']}: {work['documents']:,} candidates in {work['lists']:,} "
        f"lists, {work['distinct_documents']:,} distinct (reuse {work['reuse']}), "
        f"{work['tokens']:,} tokens, digest {work['digest']}",
        f"{model['name']} ({model['family']}), random weights, {model['dtype']} on "
        f"{result['device']}, {result['rounds']} rounds",
    ]
    if model["scale"] == "tiny":
        lines.append("tiny network: this proves that everything runs and says nothing about speed")
    return Text("\n".join(map(visible, lines)))


def _speeds(result: Result) -> Table:
    table = _table(
        "Whole passes, tokenisation included (medians; MFU by the clock and by CPU time)"
    )
    table.add_column("engine", no_wrap=True)
    headings = ("docs/s", "least to most", "docs\n/cpu-s", "MFU", "MFU\ncpu", "padding")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    documents = result["workload"]["documents"]
    for each in result["contenders"]:
        wall = each["wall_s"]
        table.add_row(
            each["name"],
            _speed(each["documents_per_s"]),
            f"{_speed(documents / wall['most'])}–{_speed(documents / wall['least'])}",
            _speed(each["documents_per_cpu_s"]),
            _percent(each["mfu"]),
            _percent(each["mfu_cpu"]),
            _percent(each["padding_waste"]),
        )
    return table


def _memory(result: Result) -> Table:
    table = _table("Useful tokens, and memory at its highest (RSS holds every engine's weights)")
    table.add_column("engine", no_wrap=True)
    for heading in ("tokens/s", "RSS MiB", "GPU MiB beyond weights"):
        table.add_column(heading, justify="right")
    for each in result["contenders"]:
        table.add_row(
            each["name"],
            f"{each['tokens_per_s']:,.0f}",
            _mebibytes(each["peak_rss_bytes"]),
            _mebibytes(each["peak_device_bytes"]),
        )
    return table


def _stages(ours: list[Mapping[str, Any]], result: Result) -> Table:
    """The network alone, and CPU-seconds of each stage."""
    table = _table("The network alone, as a replica runs it, and CPU-seconds per 1,000 documents")
    table.add_column("engine", no_wrap=True)
    names = list(ours[0]["stages"])
    for heading in ("docs/s", "docs\n/cpu-s", "MFU", "MFU\ncpu", "busy", *names):
        table.add_column(heading, justify="right", no_wrap=True)
    documents = result["workload"]["documents"]
    for each in ours:
        network = each["network_only"]
        table.add_row(
            each["name"],
            _speed(network["documents_per_s"]),
            _speed(network["documents_per_cpu_s"]),
            _percent(network["mfu"]),
            _percent(network["mfu_cpu"]),
            _percent(each["device_busy"]),
            *(f"{1000 * each['stages'][name]['cpu_s'] / documents:.3f}" for name in names),
        )
    host = result["host"]["cpu_s_per_1000_documents"]
    stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in host.items())
    weight = result["host"]["object_store_bytes_per_document"]
    table.caption = (
        f"around the network, CPU-seconds per 1,000 documents: {stages}; through the object store "
        f"{weight:,.0f} bytes per document"
    )
    table.caption_justify = "left"
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
    table = _table(f"How many times faster {result['base']} is (median, least to most)")
    table.add_column("than", no_wrap=True)
    for heading in ("by the clock", "by CPU time", "our network alone"):
        table.add_column(heading, justify="right")
    for row in result["ratios"]:
        table.add_row(
            row["name"], *(_spread(row[key]) for key in ("wall", "cpu", "wall_to_network_only"))
        )
    lines.append("our network alone: against the other's whole pass, as encoding runs beside it")
    table.caption = "\n".join(lines)
    table.caption_justify = "left"
    return table


def _agreement(result: Result) -> Table:
    table = _table("Agreement of scores")
    for heading in ("", "and"):
        table.add_column(heading, no_wrap=True)
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


def _end_to_end(found: Mapping[str, Any]) -> Text:
    return Text(
        f"Through Ray: {found['documents_per_s']:,.1f} documents/s steady, "
        f"{found['engine_documents_per_s']:,.1f} the engine alone: ratio {found['ratio']:.3f}; "
        f"replica waiting {_percent(found['starved'])} of the time between its first and last unit"
    )


def _machine(result: Result) -> Text:
    machine, versions = result["machine"], result["versions"]
    load = result["load_average"]
    return Text(
        f"{machine['cpu']}, {machine['logical_cpus']} CPUs, {machine['torch_threads']} torch "
        f"threads{', ' + machine['gpu'] if 'gpu' in machine else ''}; peak "
        f"{result['peak']['flop_per_s'] / 1e12:,.3f} TFLOP/s ({result['peak']['product']}); load "
        f"{load['before'][0]} before, {load['after'][0]} after\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
    )


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} ({found['least']:.2f}–{found['most']:.2f})"


def _speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.1f}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}" if count else _NONE


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{share:.1%}"


def _table(title: str) -> Table:
    return Table(
        title=Text(visible(title)), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
