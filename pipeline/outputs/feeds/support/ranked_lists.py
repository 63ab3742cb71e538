"""Rankings as one value per query, for stores that hold values by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.outputs.feeds.support.base import CHANGE, GONE


def ranked_lists(lists: pa.Table) -> Iterator[tuple[Any, dict[str, list[Any]] | None]]:
    """Each query of a part, with its ranking of the new generation.

    Scores have the fewest digits from which the same float32 is read.

    Args:
        lists: see :meth:`ChangePart.lists`.

    Yields:
        Query id, and ``{"doc_ids": [...], "scores": [...]}`` in rank order, a score None where
        there is none; or None where the query is gone.
    """
    scores = lists[schema.SCORES].combine_chunks()
    flat = pc.cast(pc.cast(scores.flatten(), pa.string()), pa.float64()).to_pylist()
    lengths = pc.list_value_length(scores).to_pylist()
    columns = (lists[name].to_pylist() for name in (schema.QUERY_ID, CHANGE, schema.DOC_IDS))
    start = 0
    for query_id, change, doc_ids, length in zip(*columns, lengths, strict=True):
        ranked = {schema.DOC_IDS: doc_ids, schema.SCORES: flat[start : start + length]}
        start += length
        yield query_id, None if change == GONE else ranked


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Compact JSON in UTF-8, without numbers that JSON does not have."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()
