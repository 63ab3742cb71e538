"""Whether two runs that are compared name queries and documents alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.execution.runs.run_files import read_listed
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.ranking.id_forms import NearIds, matched, near_ids
from pipeline.refresh.changes.making import PublishedRun

Pair = tuple[str, str]


def ids_that_differ(
    before: RunFolder, after: RunFolder, statistics: Mapping[str, Any]
) -> tuple[str, ...]:
    """Sentences on ids that look alike and are not, by the first file of either run.

    Args:
        before: the one run, published.
        after: the other.
        statistics: of the changes between them, see :mod:`pipeline.refresh.changes.statistics`.

    Raises:
        InputContractError: they have no query in common, or no document of a list.
    """
    queries, rows = statistics["queries"], statistics["rows"]
    complete = all(
        counts["common"] == min(counts["before"], counts["after"]) for counts in (queries, rows)
    )
    if complete:
        return ()
    runs = PublishedRun.open(before, "before"), PublishedRun.open(after, "after")
    if not all(run.files for run in runs):
        return ()
    pairs = [_first_pairs(run) for run in runs]
    ours, theirs = ([*dict.fromkeys(query for query, _ in side)] for side in pairs)
    near = _near([("", query) for query in ours], [("", query) for query in theirs])
    if not queries["common"]:
        raise InputContractError(
            f"no query of {before.path} (such as {ours[0]!r}) is in {after.path} (such as "
            f"{theirs[0]!r}), so that nothing can be compared; {_told('queries', near)}"
        )
    common = set(ours) & set(theirs)
    near_documents = _near(*([pair for pair in side if pair[0] in common] for side in pairs))
    if not rows["common"]:
        raise InputContractError(
            f"no list of {before.path} has a document in common with the same query's list in "
            f"{after.path}, so that nothing can be compared; {_told('documents', near_documents)}"
        )
    return tuple(
        _told(what, found)
        for what, found in (("queries", near), ("documents", near_documents))
        if found
    )


def _first_pairs(run: PublishedRun) -> list[Pair]:
    """Query and document ids of a run's first file, as text."""
    names = (schema.QUERY_ID, schema.DOC_ID)
    table = read_listed(run.files[0].path, run.files[0].sha256, names)
    columns = (table.column(name).cast(pa.large_string()).to_pylist() for name in names)
    return [(q, d) for q, d in zip(*columns, strict=True) if q is not None and d is not None]


def _near(ours: list[Pair], theirs: list[Pair]) -> tuple[NearIds, ...]:
    here, there = set(ours), set(theirs)
    return near_ids(
        matched(
            [pair for pair in ours if pair not in there],
            [pair for pair in theirs if pair not in here],
        )
    )


def _told(what: str, near: tuple[NearIds, ...]) -> str:
    if not near:
        return "ids are compared character by character"
    told = "; ".join(each.described("the one", "the other") for each in near)
    count = sum(each.count for each in near)
    return f"of their first files {count:,} ids of {what} differ {told}"
