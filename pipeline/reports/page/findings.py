"""What stands out in a run: sentences for the top of its page, the worst first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from pipeline.plurals import agreeing, counted
from pipeline.reports.page.words import count, share

BAD: Final = "bad"
NOTE: Final = "note"

#: Shares past which something is said.
_TRUNCATED: Final = 0.05
_IDLE: Final = 0.5
_TIED: Final = 0.2
_SAME_ORDER: Final = 0.98

Finding = tuple[str, str]


def findings(data: Mapping[str, Any]) -> list[Finding]:
    """Level (:data:`BAD` or :data:`NOTE`) and sentence of everything worth a second look."""
    found = [*_of_units(data["report"]), *_of_results(data), *_of_the_machine(data)]
    return sorted(found, key=lambda finding: finding[0] != BAD)


def _of_units(report: Mapping[str, Any]) -> Iterator[Finding]:
    different = report.get("units_not_deterministic") or []
    if different:
        yield (
            BAD,
            f"{_units(different)} came out with other bytes when scored again: "
            "the model gives different scores on this hardware from one time to the next. Set "
            "engine.deterministic, and do not mix kinds of GPU.",
        )
    suspected = report.get("units_suspected") or {}
    if suspected:
        yield (
            BAD,
            f"{_units(suspected)} killed the workers or made the model raise, and could not be "
            "finished.",
        )
    repaired = report.get("units_repaired") or []
    if repaired:
        yield NOTE, f"{_units(repaired)} had damaged files, which were made anew."
    if report.get("single_driver"):
        yield BAD, "The store kept no lease: nothing would have noticed a second driver."
    rescored = report.get("rescored_in_float32") or 0
    if rescored:
        yield (
            NOTE,
            f"{counted(rescored, 'sequence')} came out as no number and "
            f"{agreeing(rescored, 'were')} scored again in float32.",
        )


def _of_results(data: Mapping[str, Any]) -> Iterator[Finding]:
    totals, truncation = data["totals"], data["truncation"]
    if totals["quarantined"]:
        part = share(totals["quarantined"] / totals["documents"])
        number = totals["quarantined"]
        has = f"({part}) {agreeing(number, 'have')} no score"
        yield NOTE, f"{counted(number, 'document')} {has}; see below."
    if truncation and truncation["truncated"] > _TRUNCATED * truncation["documents"]:
        part = share(truncation["truncated"] / truncation["documents"])
        yield (
            NOTE,
            f"{part} of the documents were cut to what the model reads: it judged their "
            "beginnings. model.max_length, or a model that reads more, changes that.",
        )
    results = data["results"]
    ties, ranks = (results or {}).get("ties"), (results or {}).get("ranks")
    if ties and ties["constant_lists"]:
        yield (
            BAD,
            f"{count(ties['constant_lists'])} of {count(ties['lists'])} lists have one score for "
            "all their documents, so their order is the first stage's.",
        )
    elif ties and ties["lists_in_first_ten"] > _TIED * ties["lists"]:
        yield (
            NOTE,
            f"{share(ties['lists_in_first_ten'] / ties['lists'])} of the lists have equal scores "
            "within the first ten; the first stage decides there.",
        )
    if ranks and ranks["compared"] and ranks["tau"] > _SAME_ORDER:
        yield (
            NOTE,
            "The new order is almost the first stage's: does the input hold the texts, and is this "
            "the model that was meant?",
        )
    if results and results["sample"]["unreadable"]:
        yield (
            BAD,
            f"Units that could not be read for this page: {results['sample']['unreadable']}.",
        )


def _units(named: Collection[str]) -> str:
    return counted(len(named), "unit")


def _of_the_machine(data: Mapping[str, Any]) -> Iterator[Finding]:
    report = data["report"]
    busy, gpus = report.get("device_busy"), data["run"]["config"]["replicas"]["num_gpus"]
    several = (report.get("units_done_now") or 0) > 1
    # On a CPU the stages share what would be the device.
    if gpus and several and busy is not None and busy < _IDLE:
        yield (
            NOTE,
            f"Devices were at work {share(busy)} of the time from first to last unit: they waited "
            "for reading and encoding. More CPUs beside them would make the run shorter.",
        )
    halved = (report.get("engine") or {}).get("halved") or 0
    if halved:
        cut = f"{agreeing(halved, 'were')} cut in two"
        yield NOTE, f"{counted(halved, 'batch')} did not fit in memory and {cut}."
