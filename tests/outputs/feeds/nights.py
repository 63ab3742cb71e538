"""Nights of rankings, their changes, and a driver of one feed without runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.outputs.feeds.support.base import Delivery, Feed
from pipeline.outputs.feeds.support.documents import joined_id

#: Query id -> document id -> (score, colour), best first.
Night = dict[str, dict[str, tuple[float | None, str | None]]]

ROWS = pa.schema(
    [
        pa.field("query_id", pa.string()), pa.field("doc_id", pa.string()),
        pa.field("change", pa.string()), pa.field("rank", pa.int32()),
        pa.field("score", pa.float32()), pa.field("previous_rank", pa.int32()),
        pa.field("previous_score", pa.float32()), pa.field("reason", pa.string()),
        pa.field("color", pa.string()),
    ]
)  # fmt: skip

Values = tuple[int, float | None, str | None, str | None]


@dataclass(frozen=True)
class Part:
    """A part that is in memory."""

    number: int
    table: pa.Table

    def rows(self) -> pa.Table:
        return self.table

    def lists(self) -> pa.Table:
        raise NotImplementedError


def values(night: Night) -> dict[tuple[str, str], Values]:
    """Rank, score, reason and colour by (query, document)."""
    return {
        (query, document): (
            rank,
            None if score is None else float(np.float32(score)),
            "empty_text" if score is None else None,
            color,
        )
        for query, documents in night.items()
        for rank, (document, (score, color)) in enumerate(documents.items(), start=1)
    }


def changes(before: Night, after: Night, *, parts: int = 2) -> list[Part]:
    """What differs between two nights, whole queries in each part."""
    old, new = values(before), values(after)
    rows: list[list[dict[str, Any]]] = [[] for _ in range(parts)]
    queries = sorted({query for query, _ in [*old, *new]})
    for key in sorted({*old, *new}):
        if old.get(key) == new.get(key):
            continue
        kind = "gone" if key not in new else "new" if key not in old else "changed"
        rank, score, reason, color = new.get(key, (None,) * 4)
        rows[queries.index(key[0]) % parts].append(
            {
                "query_id": key[0], "doc_id": key[1], "change": kind, "rank": rank,
                "score": score, "reason": reason, "color": color,
            }
        )  # fmt: skip
    return [Part(n, pa.Table.from_pylist(some, schema=ROWS)) for n, some in enumerate(rows)]


def table(night: Night) -> dict[str, dict[str, Any]]:
    """What an engine must hold of a night, but for the generation: the fields with a value."""
    found = {}
    for (query, document), (rank, score, reason, color) in values(night).items():
        fields = {
            "query_id": query, "doc_id": document, "rank": rank,
            "score": None if score is None else float(str(np.float32(score))),
            "reason": reason, "color": color,
        }  # fmt: skip
        kept = {key: value for key, value in fields.items() if value is not None}
        found[joined_id(query, document)] = kept
    return found


def without_generation(documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Documents but for the field that says who wrote them last."""
    return {
        name: {key: value for key, value in fields.items() if key != "generation"}
        for name, fields in documents.items()
    }


def delivery_of(generation: int, base: int | None, parts: Sequence[Part]) -> Delivery:
    """A delivery of these parts."""
    return Delivery(
        generation=generation,
        base=base,
        parts=len(parts),
        columns=["color"],
        schema=ROWS,
        run_id=f"{generation:016x}",
        date="2026-01-01",
    )


@dataclass
class Driven:
    """How far a delivery has come, as the driver's record says."""

    delivery: Delivery
    parts: Sequence[Part]
    done: int = 0

    def go_on(self, feed: Feed) -> None:
        """The delivery, or the rest of it."""
        if feed.held() == self.delivery.generation and not self.delivery.full:
            feed.clean(self.delivery)
            return
        delivery = replace(self.delivery, resumed=self.done > 0)
        if self.done and not feed.keeps(delivery):
            self.done, delivery = 0, self.delivery
        feed.begin(delivery)
        for part in self.parts[self.done :]:
            feed.put(part.number, part, delivery)
            self.done += 1
        feed.switch(delivery)
        feed.clean(delivery)
