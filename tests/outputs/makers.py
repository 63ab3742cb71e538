"""Ranked rows that sinks are tested with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import schema

ABOUT = {
    "run_id": "ab" * 8,
    "unit": "cd" * 12,
    "model": "all-minilm-l6-v2",
    "score_scale": "logit",
    "fingerprint": "ef" * 16,
}

Lists = dict[Any, list[tuple[Any, float | None]]]


def ranked(lists: Lists, *, ids: pa.DataType | None = None, **columns: list[Any]) -> pa.Table:
    """Ranked rows.

    Args:
        lists: document id and score of each candidate, best first, by query id.
        ids: type of both ids; default: text.
        columns: further ones.
    """
    rows = [
        (query, doc, rank, score)
        for query, documents in lists.items()
        for rank, (doc, score) in enumerate(documents, start=1)
    ]
    kind = ids or pa.string()
    contract = schema.ranked_schema(kind, kind)
    scores = [None if score is None else np.float32(score) for *_, score in rows]
    arrays = [
        pa.array([query for query, *_ in rows], kind),
        pa.array([doc for _, doc, *_ in rows], kind),
        pa.array([rank for *_, rank, _ in rows], pa.int32()),
        pa.array(scores, pa.float32()),
        pa.array(range(1, len(rows) + 1), pa.int32()),
        pa.array([None] * len(rows), pa.float64()),
        pa.array(["null_text" if score is None else None for *_, score in rows], pa.string()),
    ]
    table = pa.table(arrays, schema=contract)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


LISTS: Lists = {
    "q1": [("d1", 12.5), ("d2", 0.1), ("d3", 0.1), ("d4", -3.0000002e-08), ("d5", None)],
    "q2": [("ä-1", -0.0)],
    "q3": [("=cmd()", None)],
}
