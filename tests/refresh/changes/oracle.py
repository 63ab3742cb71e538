"""Runs as plain rows, and what differs between two of them, as plainly as it can be said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

Row = dict[str, Any]
Pair = tuple[Any, Any]

COMPARED = ("rank", "score", "reason", "lang")


def run_schema(ids: pa.DataType = pa.string(), **carried: pa.DataType) -> pa.Schema:  # noqa: B008
    """Columns of a ranked file that changes read."""
    own = {"rank": pa.int32(), "score": pa.float32(), "reason": pa.string()}
    return pa.schema({"query_id": ids, "doc_id": ids, **own, **carried})


LANG = run_schema(lang=pa.string())


def ranked(lists: dict[Any, Sequence[Row]]) -> list[Row]:
    """Rows of lists; a candidate says doc_id, and may say score, reason and lang."""
    return [
        {"query_id": query, "rank": rank, "score": None, "reason": None, "lang": None, **candidate}
        for query, candidates in lists.items()
        for rank, candidate in enumerate(candidates, start=1)
    ]


def kept(rows: Sequence[Row]) -> dict[Pair, Row]:
    """Rows by query and document: the best rank of each, without those that lack an id."""
    found: dict[Pair, Row] = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        if row["query_id"] is not None and row["doc_id"] is not None:
            found.setdefault((row["query_id"], row["doc_id"]), row)
    return found


def changed_rows(before: Sequence[Row], after: Sequence[Row]) -> list[Row]:
    """Rows of the changes in their order."""
    old, new = kept(before), kept(after)
    found = []
    for pair in old.keys() | new.keys():
        was, now = old.get(pair), new.get(pair)
        if was is not None and now is not None and all(was[n] == now[n] for n in COMPARED):
            continue
        kind = "new" if was is None else "gone" if now is None else "changed"
        row = {"query_id": pair[0], "doc_id": pair[1], "change": kind}
        row |= {name: now and now[name] for name in COMPARED}
        row |= {f"previous_{name}": was and was[name] for name in ("rank", "score")}
        found.append(row)

    def place(row: Row) -> tuple[Any, ...]:
        gone = row["rank"] is None
        return row["query_id"], gone, row["previous_rank"] if gone else row["rank"]

    return sorted(found, key=place)


def lists_of(rows: dict[Pair, Row]) -> dict[Any, tuple[list[Any], list[Any]]]:
    """Document ids and scores by query, in the order of ranks."""
    lists: dict[Any, tuple[list[Any], list[Any]]] = {}
    for (query, document), row in sorted(rows.items(), key=lambda item: item[1]["rank"]):
        documents, scores = lists.setdefault(query, ([], []))
        documents.append(document)
        scores.append(row["score"])
    return lists


def applied_rows(old: dict[Pair, Row], changes: Sequence[Row]) -> dict[Pair, Row]:
    """What a target holds that has applied changed rows to what it held."""
    held = dict(old)
    for change in changes:
        pair = (change["query_id"], change["doc_id"])
        if change["change"] == "gone":
            del held[pair]
        else:
            assert (pair in held) == (change["change"] == "changed")
            held[pair] = {name: change[name] for name in ("query_id", "doc_id", *COMPARED)}
    return held


def applied_lists(
    old: dict[Any, tuple[list[Any], list[Any]]], changes: Sequence[Row]
) -> dict[Any, tuple[list[Any], list[Any]]]:
    """Likewise of changed lists."""
    held = dict(old)
    for change in changes:
        query = change["query_id"]
        if change["change"] == "gone":
            assert (change["doc_ids"], change["scores"]) == ([], [])
            del held[query]
        else:
            assert (query in held) == (change["change"] == "changed")
            held[query] = (change["doc_ids"], change["scores"])
    return held
