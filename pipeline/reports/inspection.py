"""What an input is, as lines of text that fit 80 columns; the figures are those of ``--json``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.plurals import counted

_WIDTH: Final = 79
_HEAD: Final = 12

#: Cells of the longest bar of a histogram, and parts of a cell.
_BAR: Final = 34
_PARTS: Final = "▏▎▍▌▋▊▉█"

#: Numbers of which a histogram says more than their least and largest.
_FEWEST_SHOWN: Final = 10

_MOST_REFUSALS: Final = 20

_CHECKED: Final = {
    "footers": "seen in the footers alone",
    "all": "every query id was read",
    "sample": "query ids of a sample of the row groups were read",
}


def inspection_lines(facts: dict[str, Any]) -> Iterator[str]:
    """The report, line by line, without line breaks.

    Args:
        facts: from :func:`pipeline.inspection.inspect.inspect`.
    """
    yield from _input(facts["input"])
    for role in ("corpus", "queries_source"):
        yield from _referred(role.partition("_")[0], facts.get(role))
    if "columns" in facts:
        yield from _columns(facts)
        yield from _order(facts["order"])
        yield from _lists(facts)
        if facts["sample"]["queries"]:
            yield from _contents(facts)
        yield from _units(facts["units"])
    yield from _refusals(facts["refusals"])
    for place, warning in enumerate(facts["warnings"]):
        yield from _entry("note" if place == 0 else "", warning)
    yield from _settings(facts["settings"])
    if facts["starts"]:
        yield from _entry("verdict", "`rerank run` would start")
    else:
        count = len(facts["refusals"])
        problems = "what is said above" if count == 1 else f"{count:,} problems named above"
        yield from _entry("verdict", f"`rerank run` would not start: {problems}")


def bar_chart(bins: Sequence[Sequence[int]]) -> list[str]:
    """A histogram as bars of blocks.

    Args:
        bins: first value, last value and how many, of each.
    """
    labels = [f"{low:,}" if low == high else f"{low:,}-{high:,}" for low, high, _ in bins]
    most = max(count for *_, count in bins)
    wide = max(map(len, labels))
    return [
        f"{label:>{wide}}  {_bar(count, most)} {count:,}"
        for label, (*_, count) in zip(labels, bins, strict=True)
    ]


def _bar(count: int, most: int) -> str:
    """Eighths of a cell; whatever is not nothing shows."""
    eighths = max(round(count / most * _BAR * 8), 1 if count else 0)
    return _PARTS[7] * (eighths // 8) + (_PARTS[eighths % 8 - 1] if eighths % 8 else "")


def _entry(head: str, text: str) -> list[str]:
    """A heading and what stands behind it, wrapped; words are never cut, for they are copied."""
    wrapped = textwrap.wrap(
        text,
        _WIDTH - _HEAD,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [""]
    return [f"{head if place == 0 else '':<{_HEAD}}{line}" for place, line in enumerate(wrapped)]


def _input(found: dict[str, Any]) -> Iterator[str]:
    yield from _entry("input", ", ".join(found["path"]))
    known = {"long": "long layout", "nested": "nested layout", None: "no file that can be read"}
    layout = known.get(found["layout"], found["layout"])
    yield from _entry("format", f"{found['format']}, {layout}")
    left = found["files"] - found["files_read"]
    more = [counted(found["row_groups"], "row group")] if found["row_groups"] else []
    more += [f"{found['files_without_rows']:,} without rows"] if found["files_without_rows"] else []
    more += [f"{left:,} left out, see below"] if left else []
    size = f"{found['bytes'] / 2**20:,.1f} MiB"
    if found["tables"]:
        yield from _entry("files", size)
        yield from _tables(found["tables"])
    else:
        yield from _entry("files", ", ".join([counted(found["files"], "file"), size, *more]))


def _referred(role: str, found: dict[str, Any] | None) -> Iterator[str]:
    if found is None:
        return
    yield from _entry(role, ", ".join(found["path"]))
    size = f"{found['bytes'] / 2**20:,.1f} MiB"
    part = "" if found["whole"] else " read, of more"
    again = f", {found['repeated']:,} of them again" if found["repeated"] else ""
    yield from _entry(
        "", f"{found['format']}, {size}, {counted(found['rows'], 'row')}{part}{again}"
    )
    yield from _tables(found["tables"])
    if found["missing_references"] is not None:
        yield from _entry("", f"ids of candidates that it lacks: {found['missing_ids']:,}")


def _tables(tables: list[dict[str, Any]]) -> Iterator[str]:
    for table in tables:
        told = f"version {table['version']} of {table['path']}: {counted(table['rows'], 'row')}"
        gone = f", {table['deleted_rows']:,} deleted" if table["deleted_rows"] else ""
        yield from _entry("", f"{told}{gone}, in {counted(table['fragments'], 'fragment')}")


def _columns(facts: dict[str, Any]) -> Iterator[str]:
    for place, column in enumerate(facts["columns"]):
        how = "" if column["found_by"] == "name" else f" by {column['found_by']}"
        own = "" if column["column"] == column["name"] else f" = '{column['column']}'{how}"
        inside = " in each candidate" if column["level"] == "candidate" else ""
        inside = inside if facts["input"]["layout"] == "nested" else ""
        head = "columns" if place == 0 else ""
        yield from _entry(head, f"{column['name']}{own} ({column['type']}){inside}")
    if facts["unused_columns"]:
        yield from _entry("", f"not read: {', '.join(facts['unused_columns'])}")


def _order(order: dict[str, Any]) -> Iterator[str]:
    meaning = {
        "sorted": "sorted by query_id",
        "grouped": "rows of a query together, ids not ascending",
        "scattered": "scattered: rows of a query stand apart",
    }
    yield from _entry("order", f"{meaning[order['kind']]} ({_CHECKED[order['checked']]})")


def _lists(facts: dict[str, Any]) -> Iterator[str]:
    for name in ("queries", "candidates"):
        found = facts[name]
        count = "not known" if found["count"] is None else f"{found['count']:,}"
        about = "about " if found["source"] == "sample" else ""
        where = "" if found["source"] == "unknown" else f" (by {_source(found['source'])})"
        yield from _entry(name, f"{about}{count}{where}")
    found = facts["candidates_per_query"]
    if found is not None:
        yield from _figures("per query", found, _source(found["source"]))
    read = facts["sample"]
    which = "every row" if read["whole"] else "a sample from all over the input"
    yield from _entry(
        "read",
        f"{which}: {counted(read['candidates'], 'candidate')} of "
        f"{counted(read['queries'], 'query')}, which the figures below are from",
    )


def _contents(facts: dict[str, Any]) -> Iterator[str]:
    contents = facts["contents"]
    for name, head in (("texts", "texts"), ("query_texts", "query texts")):
        found = contents[name]
        if found["characters"] is not None:
            yield from _figures(head, found["characters"], "characters")
        odd = {"null": found["null"], "empty or blank": found["empty"]}
        odd |= {"identical in a list": found.get("identical", 0)}
        told = [f"{count:,} {what}" for what, count in odd.items() if count]
        yield from _entry("", ", ".join(told)) if told else ()
    score = contents["first_stage_score"]
    if score is not None:
        ends = "none" if score["min"] is None else f"{score['min']:g} to {score['max']:g}"
        missing = f", {score['missing']:,} missing" if score["missing"] else ""
        yield from _entry("scores", f"first-stage scores: {ends}{missing}")
    ranks = contents["first_stage_rank"]
    order = "by first-stage score" if score is not None else "the order of the rows"
    yield from _entry("ranks", "given" if ranks is not None else f"not given, so {order}")
    for name in ("images", "query_images"):
        found = contents[name]
        if found is not None:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in found["kinds"].items())
            head = name.replace("_", " ")[:_HEAD]
            yield from _entry(
                head, f"{found['count']:,} ({kinds or 'none'}), {found['null']:,} null"
            )
    yield from _not_scored(facts)


def _not_scored(facts: dict[str, Any]) -> Iterator[str]:
    found = facts["contents"]["not_scored"]
    if not found:
        yield from _entry("not scored", "none: nothing would go to the quarantine")
        return
    share = facts["contents"]["share_not_scored"]
    yield from _entry("not scored", f"{share:.2%} of the candidates would go to the quarantine:")
    for one in found:
        meaning = "" if one["message"] == one["reason"] else f"; {one['message']}"
        yield from _entry("", f"{one['reason']}: {one['count']:,}{meaning}")
        named = [_named(example) for example in one["examples"]]
        yield from _entry("", f"  e.g. {', '.join(named)}")


def _named(example: dict[str, Any]) -> str:
    query, document = example["query_id"], example.get("doc_id")
    return f"{query!r}" if "doc_id" not in example else f"{query!r} {document!r}"


def _units(found: dict[str, Any]) -> Iterator[str]:
    if found["tokens"] is not None:
        yield from _figures("tokens", found["tokens"], f"a sequence, as {found['model']} reads it")
    if found["documents"] is None:
        yield from _entry("units", f"not known: {found['reason']}")
        return
    yield from _entry(
        "units",
        f"{found['units']:,} of up to {found['documents']:,} documents for {found['model']}: "
        f"{found['reason']}",
    )


def _figures(head: str, found: dict[str, Any], what: str) -> Iterator[str]:
    """A line of figures, and the histogram below it."""
    yield from _entry(
        head,
        f"min {found['min']:,}, median {found['median']:,.0f}, p95 {found['p95']:,.0f}, "
        f"max {found['max']:,} ({what})",
    )
    if len(found["histogram"]) > 1 and found["count"] >= _FEWEST_SHOWN:
        for line in bar_chart(found["histogram"]):
            yield f"{'':<{_HEAD}}{line}"


def _refusals(refusals: Sequence[dict[str, str]]) -> Iterator[str]:
    for place, one in enumerate(refusals[:_MOST_REFUSALS]):
        yield from _entry("refused" if place == 0 else "", one["message"])
    if len(refusals) > _MOST_REFUSALS:
        yield from _entry("", f"and {len(refusals) - _MOST_REFUSALS:,} more; --json has all")


def _settings(settings: dict[str, Any]) -> Iterator[str]:
    for place, (name, value) in enumerate(settings.items()):
        if name == "input.path":
            continue
        yield from _entry("settings" if place <= 1 else "", f"{name}: {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inner}" for key, inner in value.items()) + "}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _source(source: str) -> str:
    names = {"query ids": "all query ids", "sample": "a sample", "footers": "the footers"}
    return names.get(source, source)
