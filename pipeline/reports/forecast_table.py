"""What a run will take, as lines and a table for 80 columns; figures are those of ``--json``."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from pipeline.plain_text import visible
from pipeline.plurals import counted

Facts = Mapping[str, Any]

_WIDTH: Final = 79
_HEAD: Final = 11
_BAR: Final = 24

#: Before a device's name, by what its speed is known from.
_MARKS: Final = {"measured": "", "given": "", "scaled": "≈", "guess": "~"}

#: Devices that are shown beside those here and those that the user gave.
_MOST_OTHERS: Final = 6


def forecast_lines(facts: Facts) -> Iterator[str]:
    """Everything but the table of devices, line by line.

    Args:
        facts: from :func:`pipeline.forecast.plain.plain`.
    """
    if facts["documents_to_score"] != facts["documents"]:
        yield from entry(
            "to score",
            f"about {facts['documents_to_score']:,} of {facts['documents']:,} documents; the "
            "others are scored already",
        )
    if facts["sample"] is None:
        yield from entry("tokens", f"not estimated: {facts['why']}")
        return
    yield from _tokens(facts)
    yield from _lengths(facts["lengths"])
    cut = facts["truncated_share"]
    if cut is not None:
        yield from entry("cut", f"{_share(cut)} of the documents are longer than the model reads")
    yield from entry(
        "output",
        f"about {_size(facts['output_bytes']['value'])} in {counted(facts['units'], 'unit')}; "
        f"about {counted(round(facts['queries']['value']), 'query')}",
    )


def warning_lines(facts: Facts) -> Iterator[str]:
    """Where speeds and prices are from, and the warnings."""
    shown = _shown(facts["devices"])
    if shown:
        yield from entry("", "* here; ≈ with other threads; ~ guessed from other networks; hours "
                          "of all GPUs, or of all CPUs of replicas on CPU")  # fmt: skip
        for device in shown:
            dtype = f" in {device['dtype']}" if device["dtype"] else ""
            yield from entry("rate", f"{device['device']}{dtype}: {device['origin']}")
    if any(device["cost"] for device in shown):
        yield from entry("prices", "; ".join(facts["prices"]))
    for warning in facts["warnings"]:
        yield from entry("warning", warning)


def devices_table(facts: Facts) -> Table | Text:
    """What is left to do on each device."""
    shown = _shown(facts["devices"])
    if not shown:
        return Text(
            f"{'time':<{_HEAD}}not known: nothing was measured that tells of this model; "
            "`rerank bench --record`, or --gpu-rate"
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=False)
    # On a narrow terminal the widest cells go on below themselves, and none is left out.
    table.add_column("device", overflow="fold")
    for heading in ("at once", "documents/s", "hours", "time", facts["currency"]):
        table.add_column(heading, justify="right", overflow="fold")
    for device in shown:
        table.add_row(*map(visible, _row(device)))
    return table


def _shown(devices: Sequence[Facts]) -> list[Facts]:
    """Devices here and given ones, and others of which most is known; guesses after those."""
    own = [one for one in devices if one["here"] or one["basis"] == "given"]
    others = [one for one in devices if one not in own and one["basis"] != "guess"]
    guesses = [one for one in devices if one not in own and one["basis"] == "guess"]
    return [*own, *[*others, *guesses][:_MOST_OTHERS]]


def _row(device: Facts) -> tuple[str, ...]:
    of = "GPU" if device["kind"] == "cuda" else "replica"
    return (
        _MARKS[device["basis"]] + device["device"] + ("*" if device["here"] else ""),
        counted(device["count"], of),
        _range(device["documents_per_s"], _speed),
        _range(device["hours"], _hours),
        _range(device["seconds"], duration),
        "–" if device["cost"] is None else _range(device["cost"], _money),
    )


def _tokens(facts: Facts) -> Iterator[str]:
    tokens, each, sample = facts["tokens"], facts["tokens_per_document"], facts["sample"]
    margin = f" ± {tokens['margin']:,.0f}" if tokens["margin"] else ""
    if sample["documents"] >= facts["documents"]:
        of = "every document was read"
    else:
        piece = "whole unit" if sample["whole_units"] else "place"
        of = (
            f"{sample['confidence']:.0%} interval of a sample of {sample['documents']:,} documents "
            f"in {counted(sample['pieces'], piece)}"
        )
    yield from entry("tokens", f"{tokens['value']:,.0f}{margin}, {each['value']:,.1f} a document")
    yield from entry("", of)


def _lengths(lengths: Facts) -> Iterator[str]:
    at = lengths["quantiles"]
    yield from entry(
        "lengths",
        f"half up to {at['0.5']:,} tokens, 90 % up to {at['0.9']:,}, 99 % up to {at['0.99']:,}, "
        f"longest {at['1']:,}",
    )
    most = max((row["value"] for row in lengths["shares"]), default=1.0)
    for row in lengths["shares"]:
        label = f"{row['above'] + 1:,}-{row['upto']:,}"
        bar = "█" * max(1, round(_BAR * row["value"] / most))
        yield f"{'':<{_HEAD}}{label:>13}  {bar:<{_BAR}}  {_share(row)}"


def entry(heading: str, text: str) -> Iterator[str]:
    """Lines of one entry of a plan: its heading, and a text that goes on below itself."""
    lines = textwrap.wrap(visible(text), _WIDTH - _HEAD, break_on_hyphens=False) or [""]
    for place, line in enumerate(lines):
        yield f"{heading if place == 0 else '':<{_HEAD}}{line}"


def _share(estimate: Facts) -> str:
    margin = f" ± {estimate['margin']:.1%}" if estimate["margin"] else ""
    return f"{estimate['value']:.1%}{margin}"


def _range(ends: Sequence[float], shown: Callable[[float], str]) -> str:
    """One number where both look the same or nearly do; a unit that both have stands once."""
    low, high = ends
    if high <= low * 1.02:
        return shown((low + high) / 2)
    first, last = shown(low), shown(high)
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    return f"{number}–{last}" if last.endswith(f" {unit}") and unit else f"{first}–{last}"


def _speed(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:,.1f}M"
    return f"{value / 1000:,.1f}k" if value >= 10_000 else f"{value:,.{0 if value >= 100 else 1}f}"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _money(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.1g}"


def duration(seconds: float) -> str:
    """Such as ``12 s``, ``3:20 min``, ``5:10 h`` or ``3.2 d``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        whole, rest = divmod(round(seconds), 60)
        return f"{whole}:{rest:02d} min"
    if minutes < 48 * 60:
        return f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{seconds / 86_400:,.1f} d"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.3g} {unit}"
        count /= 1024
    return f"{count:,.3g} TiB"
