from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.inspection.guesses import guessed_columns

TEXT = pa.string()


@pytest.mark.parametrize(
    ("columns", "guessed"),
    [
        (
            {"search_id": pa.int64(), "search_term": TEXT, "asin": TEXT, "description": TEXT},
            {
                "query_id": "search_id",
                "query": "search_term",
                "doc_id": "asin",
                "text": "description",
            },
        ),
        (
            {"QueryID": TEXT, "query": TEXT, "DocID": TEXT, "text": TEXT},
            {"query_id": "QueryID", "doc_id": "DocID"},
        ),
        ({"search_id": pa.float64(), "query": TEXT, "asin": TEXT, "text": TEXT}, None),
        ({"qid": TEXT, "query": TEXT, "vector": TEXT, "text": TEXT}, None),
        ({}, None),
    ],
)
def test_columns_of_the_long_layout(columns: dict, guessed: dict | None) -> None:
    assert guessed_columns(pa.schema(columns), {}) == guessed


def test_fields_of_the_nested_layout() -> None:
    items = pa.list_(pa.struct({"id": TEXT, "chunk": TEXT, "similarity": pa.float32()}))
    arrow = pa.schema({"question_id": TEXT, "question": TEXT, "ctxs": items})
    wanted = {"query_id": "question_id", "candidates": "ctxs", "doc_id": "id", "text": "chunk"}
    assert guessed_columns(arrow, {}) == wanted


def test_what_was_said_is_kept_and_taken_by_nothing_else() -> None:
    arrow = pa.schema({"qid": TEXT, "q": TEXT, "id": TEXT, "body_text": TEXT, "description": TEXT})
    found = guessed_columns(arrow, {"text": "body_text", "doc_id": "id"})
    assert found == {"text": "body_text", "doc_id": "id", "query": "q"}
