from __future__ import annotations

import random

import pyarrow as pa
import pytest

from pipeline import schema
from pipeline.demo.corpus import Document, standard_library_documents
from pipeline.demo.first_stage import bm25_candidates
from pipeline.errors import ConfigurationError

pytest.importorskip("bm25s")

COLUMNS = {
    schema.QUERY_ID: pa.string(),
    schema.QUERY: pa.string(),
    schema.DOC_ID: pa.string(),
    schema.TITLE: pa.string(),
    schema.TEXT: pa.string(),
    schema.FIRST_STAGE_SCORE: pa.float64(),
    schema.FIRST_STAGE_RANK: pa.int32(),
}


def document(doc_id: str, text: str, title: str = "") -> Document:
    return Document(doc_id=doc_id, title=title, text=text)


FRUIT = [
    document("pear", "a pear is a fruit"),
    document("plum", "a plum is a fruit, a plum is small"),
    document("nut", "walnut"),
]


def ids(table: pa.Table, query_id: str) -> list[str]:
    return [row[schema.DOC_ID] for row in table.to_pylist() if row[schema.QUERY_ID] == query_id]


def test_columns_and_types() -> None:
    table = bm25_candidates(FRUIT, {"1": "plum"})
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == COLUMNS


def test_rows_are_grouped_by_query_in_rank_order() -> None:
    rows = bm25_candidates(FRUIT, {"b": "plum fruit", "a": "pear"}).to_pylist()
    shape = [(row["query_id"], row["doc_id"], row["first_stage_rank"]) for row in rows]
    assert shape == [("b", "plum", 1), ("b", "pear", 2), ("a", "pear", 1)]
    assert rows[0]["query"] == "plum fruit"
    assert rows[0]["text"] == "a plum is a fruit, a plum is small"
    assert rows[0]["first_stage_score"] > rows[1]["first_stage_score"] > 0


def test_ties_are_broken_by_doc_id_whatever_the_order_of_the_corpus() -> None:
    corpus = [document(f"d{place}", "same words here") for place in range(9)]
    expected = [f"d{place}" for place in range(9)]
    for seed in range(3):
        random.Random(seed).shuffle(corpus)
        assert ids(bm25_candidates(corpus, {"1": "words"}), "1") == expected
        assert ids(bm25_candidates(corpus, {"1": "words"}, top_k=4), "1") == expected[:4]


def test_the_title_is_searched_case_does_not_matter_and_dots_divide_words() -> None:
    corpus = [*FRUIT, document("zip", "Return file-like object", "zipfile.ZipFile.open(name)")]
    assert ids(bm25_candidates(corpus, {"1": "ZIPFILE"}), "1") == ["zip"]


@pytest.mark.parametrize("query", ["", "the of and", "unheard", "?!"])
def test_a_query_without_a_known_word_finds_nothing(query: str) -> None:
    table = bm25_candidates(FRUIT, {"1": query, "2": "walnut"})
    assert ids(table, "1") == []
    assert ids(table, "2") == ["nut"]


def test_no_queries_give_an_empty_table() -> None:
    table = bm25_candidates(FRUIT, {})
    assert table.num_rows == 0
    assert table.schema.names == list(COLUMNS)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="positive top_k"):
        bm25_candidates(FRUIT, {"1": "plum"}, top_k=0)
    with pytest.raises(ConfigurationError, match="needs documents"):
        bm25_candidates([], {"1": "plum"})


def test_an_obvious_question_finds_its_answer(capfd: pytest.CaptureFixture[str]) -> None:
    queries = {"1": "median middle value of numeric data", "2": "zip archive"}
    documents = standard_library_documents()
    table = bm25_candidates(documents, queries, top_k=100)
    assert ids(table, "1")[0] == "statistics.median"
    assert ids(table, "2")[0].startswith("zip")
    assert len(ids(table, "1")) == 100
    assert table.equals(bm25_candidates(documents[::-1], queries, top_k=100))
    assert capfd.readouterr() == ("", "")
