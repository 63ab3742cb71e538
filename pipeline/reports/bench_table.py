"""A bench as terminal tables, from the plain data that ``rerank bench --json`` writes.

Columns and lines that a comparison of several engines shows as well are functions of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.plurals import counted

Result = Mapping[str, Any]

_NONE = "–"


def bench_tables(result: Result) -> Group:
    """Speed, stages, memory, and what they were taken on."""
    parts: list[Table | Text] = [
        subject_text(result),
        _speed_table(result),
        _network_table(result),
        memory_table([result["engine"]]),
    ]
    if result.get("end_to_end"):
        parts.append(end_to_end_text(result["end_to_end"]))
    parts.append(machine_text(result))
    return Group(*parts)


def _speed_table(result: Result) -> Table:
    table = table_of(
        "Whole passes, tokenisation included (medians)",
        ("docs/s", "least to most", "docs\n/cpu-s", "padding", "busy"),
    )
    engine = result["engine"]
    table.add_row(
        engine["name"],
        speed(engine["documents_per_s"]),
        span(engine, result["workload"]["documents"]),
        speed(engine["documents_per_cpu_s"]),
        percent(engine["padding_waste"]),
        percent(engine["device_busy"]),
    )
    return table


def _network_table(result: Result) -> Table:
    engine, documents = result["engine"], result["workload"]["documents"]
    network = engine["network_only"]
    table = table_of(
        "The network alone, as a replica runs it, and CPU-seconds per 1,000 documents",
        ("docs/s", "docs\n/cpu-s", *engine["stages"]),
    )
    table.add_row(
        engine["name"],
        speed(network["documents_per_s"]),
        speed(network["documents_per_cpu_s"]),
        *stage_costs(engine, documents),
    )
    table.caption, table.caption_justify = host_caption(result), "left"
    return table


def subject_text(result: Result) -> Text:
    """What was scored, with which network."""
    work, model = result["workload"], result["model"]
    lines = [
        f"{work['name']} {work['size']}: {counted(work['documents'], 'candidate')} in "
        f"{counted(work['lists'], 'list')}, {work['distinct_documents']:,} distinct "
        f"(reuse {work['reuse']}), {counted(work['tokens'], 'token')}, digest {work['digest']}",
        f"{model['name']} ({model['family']}), {model['weights']} weights, {model['dtype']} on "
        f"{result['device']}, {counted(result['rounds'], 'round')}",
    ]
    if model["scale"] == "tiny":
        lines.append("tiny network: this proves that everything runs and says nothing about speed")
    return Text("\n".join(map(visible, lines)))


def memory_table(engines: Sequence[Mapping[str, Any]]) -> Table:
    """Tokens per second and memory, a row per engine."""
    table = table_of(
        "Useful tokens, and memory at its highest (RSS holds every engine's weights)",
        ("tokens/s", "RSS MiB", "GPU MiB beyond weights"),
    )
    for each in engines:
        table.add_row(
            visible(each["name"]),
            f"{each['tokens_per_s']:,.0f}",
            _mebibytes(each["peak_rss_bytes"]),
            _mebibytes(each["peak_device_bytes"]),
        )
    return table


def host_caption(result: Result) -> str:
    """What the host does around the network."""
    host = result["host"]["cpu_s_per_1000_documents"]
    stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in host.items())
    weight = result["host"]["object_store_bytes_per_document"]
    return (
        f"around the network, CPU-seconds per 1,000 documents: {stages}; through the object store "
        f"{weight:,.0f} bytes per document"
    )


def end_to_end_text(found: Mapping[str, Any]) -> Text:
    """The run through Ray, in a line or two; results of before hold the first line only."""
    told = (
        f"Through Ray: {found['documents_per_s']:,.1f} documents/s steady, "
        f"{found['engine_documents_per_s']:,.1f} the engine alone: ratio {found['ratio']:.3f}; "
        f"replica waiting {percent(found['starved'])} of the time between its first and last unit"
    )
    if "first_file_s" in found:
        told += (
            f"\n{counted(found['documents'], 'document')} in {counted(found['files'], 'unit')} of "
            f"{found['unit_documents']:,} at most; first unit after {found['first_file_s']:.1f} s "
            f"of {found['run_s']:.1f} s"
        )
    return Text(told)


def machine_text(result: Result) -> Text:
    """Processor, threads, GPU, load and versions; the machine's peak where it was measured."""
    machine, load = result["machine"], result["load_average"]
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    peak = ""
    if "peak" in result:
        peak = f"peak {result['peak']['flop_per_s'] / 1e12:,.3f} TFLOP/s "
        peak += f"({result['peak']['product']}); "
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return Text(
        visible(
            f"{machine['cpu']}, {counted(machine['logical_cpus'], 'CPU')}, "
            f"{counted(machine['torch_threads'], 'torch thread')}{gpu}; {peak}"
            f"load {load['before'][0]} before, {load['after'][0]} after"
        )
        + f"\n{visible(versions)}"
    )


def span(engine: Mapping[str, Any], documents: int) -> str:
    """Documents per second of the slowest and of the fastest pass."""
    wall = engine["wall_s"]
    return f"{speed(documents / wall['most'])}–{speed(documents / wall['least'])}"


def stage_costs(engine: Mapping[str, Any], documents: int) -> list[str]:
    """CPU-seconds per 1,000 documents of each stage."""
    return [f"{1000 * cost['cpu_s'] / documents:.3f}" for cost in engine["stages"].values()]


def speed(value: float) -> str:
    """Documents per second, as long as they need be."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.1f}"


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return _NONE if share is None else f"{share:.1%}"


def table_of(title: str, headings: Sequence[str], *, first: str = "engine") -> Table:
    """An empty table: a column of names, and columns of figures."""
    table = Table(
        title=Text(visible(title)), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}" if count else _NONE
