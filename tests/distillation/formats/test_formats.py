"""What each format makes of two queries, written out."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.distillation.formats.support.finding import build
from pipeline.distillation.rules import left_out as codes
from tests.distillation.formats.makers import RULES, awkward, item, part, plain, query


def rows(name: str, table: pa.Table | None = None, **options: Any) -> list[dict[str, Any]]:
    form = build(name, options, rules=RULES)
    written = form.write(plain() if table is None else table, split="train", part="p")
    data = written.files[f"train/p{form.suffix}"]
    if form.suffix == ".parquet":
        return pq.read_table(io.BytesIO(data)).to_pylist()
    if form.suffix == ".arrow":
        return pa.ipc.open_stream(data).read_all().to_pylist()
    return [json.loads(line) for line in data.split(b"\n") if line]


def left_out(name: str, table: pa.Table, **options: Any) -> dict[str, int]:
    return dict(build(name, options, rules=RULES).write(table, split="dev", part="p").left_out)


def text(*ids: str) -> list[str]:
    return [f"text of {one}" for one in ids]


def test_labeled_pair() -> None:
    found = rows("sentence_transformers_labeled_pair")
    assert found[0] == {"query": "query q1", "document": "text of a", "score": 5.0}
    assert [row["document"] for row in found] == text("a", "b", "c", "d", "b", "e", "f")
    assert [row["score"] for row in found][:5] == pytest.approx([5.0, 1.5, -2.25, 3.0, 0.1])


def test_labeled_pair_binary() -> None:
    found = rows("sentence_transformers_labeled_pair", labels="binary")
    assert list(found[0]) == ["query", "document", "label"]
    assert [row["label"] for row in found] == [1, 0, 0, 1, 1, 0, 0]


def test_labeled_list() -> None:
    found = rows("sentence_transformers_labeled_list")
    assert found[0] == {
        "query": "query q1", "documents": text("a", "b", "c"), "scores": [5.0, 1.5, -2.25],
    }  # fmt: skip
    assert found[1]["documents"] == text("d", "b", "e", "f")


def test_labeled_list_binary() -> None:
    found = rows("sentence_transformers_labeled_list", labels="binary")
    assert [row["labels"] for row in found] == [[1, 0, 0], [1, 1, 0, 0]]


def test_lists_of_different_lengths_stay_apart_over_many_rows() -> None:
    """More rows than a block: labels and documents keep to their query."""
    made = [
        query(f"q{n}", [item(f"p{n}", 1.0)], [item(f"n{n}.{k}", -float(k)) for k in range(n % 4)])
        for n in range(2_500)
    ]
    for row, n in zip(rows("sentence_transformers_labeled_list", part(*made)), range(2_500)):  # noqa: B905
        assert row["query"] == f"query q{n}"
        assert row["documents"] == text(f"p{n}", *(f"n{n}.{k}" for k in range(n % 4)))
        assert row["scores"] == [1.0, *(-float(k) for k in range(n % 4))]


def test_triplet_crosses_positives_and_negatives() -> None:
    found = rows("sentence_transformers_triplet")
    assert found[0] == {
        "query": "query q1", "positive": "text of a", "negative": "text of b",
    }  # fmt: skip
    crossed = [(row["positive"][-1], row["negative"][-1]) for row in found]
    assert crossed == [("a", "b"), ("a", "c"), ("d", "e"), ("d", "f"), ("b", "e"), ("b", "f")]


def test_margin_mse_has_the_teachers_margin() -> None:
    found = rows("sentence_transformers_margin_mse")
    assert list(found[0]) == ["query", "positive", "negative", "label"]
    assert [row["label"] for row in found] == pytest.approx([3.5, 7.25, 4.0, 7.0, 1.1, 4.1])


def test_n_tuple_has_a_row_per_positive() -> None:
    found = rows("sentence_transformers_n_tuple")
    assert list(found[0]) == ["query", "positive", "negative_1", "negative_2", "scores"]
    assert found[0]["scores"] == [5.0, 1.5, -2.25]
    assert [row["positive"] for row in found] == text("a", "d", "b")
    assert found[2]["scores"] == pytest.approx([0.1, -1.0, -4.0])


def test_n_tuple_leaves_out_what_is_too_short_and_cuts_what_is_too_long() -> None:
    counts = left_out("sentence_transformers_n_tuple", awkward())
    # good has one negative more than two; few and none have too few; unscored has no positive.
    assert counts[codes.SURPLUS] == 1
    assert counts[codes.TOO_FEW_NEGATIVES] == 2
    assert counts[codes.NO_POSITIVE] == 1
    taken = left_out("sentence_transformers_n_tuple", awkward(), num_negatives=1)
    assert taken[codes.TOO_FEW_NEGATIVES] == 1


def test_distill_kldiv_has_a_row_per_query_with_all_others_best_first() -> None:
    found = rows("sentence_transformers_distill_kldiv")
    assert list(found[1]) == ["query", "document_1", "document_2", "document_3", "scores"]
    assert [found[1][f"document_{n}"] for n in (1, 2, 3)] == text("d", "b", "e")
    assert found[1]["scores"] == pytest.approx([3.0, 0.1, -1.0])


def test_the_best_positive_stays_first_even_where_a_negative_scores_higher() -> None:
    table = part(query("q", [item("p", -1.0)], [item("n", 2.0), item("m", 1.0)]))
    assert rows("sentence_transformers_distill_kldiv", table)[0]["scores"] == [-1.0, 2.0, 1.0]
    assert rows("id_triple", table)[0]["document_ids"] == ["p", "n", "m"]
    assert rows("tevatron_distill", table)[0]["scores"] == [-1.0, 2.0, 1.0]


def test_flag_embedding() -> None:
    assert rows("flag_embedding")[1] == {
        "query": "query q2",
        "pos": text("d", "b"),
        "neg": text("e", "f"),
        "pos_scores": [3.0, 0.1],
        "neg_scores": [-1.0, -4.0],
    }


def test_flag_embedding_never_has_an_empty_list() -> None:
    found = rows("flag_embedding", awkward())
    assert [row["query"] for row in found] == ["query good", "query few", "query pictured"]
    assert all(row["neg"] and row["pos"] for row in found)
    assert all(len(row["neg"]) == len(row["neg_scores"]) for row in found)
    assert left_out("flag_embedding", awkward())[codes.TOO_FEW_NEGATIVES] == 1


def test_json_lines_keep_line_separators_inside_texts() -> None:
    awkward_text = 'a\nb\u2028c\x85d"e\\'
    table = part(query("q", [item("a", 1.0, text=awkward_text)], [item("b", 0.0)]))
    form = build("flag_embedding", {}, rules=RULES)
    data = form.write(table, split="train", part="p").files["train/p.jsonl"]
    assert data.count(b"\n") == 1
    assert json.loads(data)["pos"] == [awkward_text]


def test_tevatron() -> None:
    found = rows("tevatron")[0]
    assert found["query_id"] == "q1"
    assert found["query"] == "query q1"
    assert found["positive_passages"] == [
        {"docid": "a", "title": "", "text": "text of a", "score": 5.0}
    ]
    assert [one["docid"] for one in found["negative_passages"]] == ["b", "c"]


def test_tevatron_without_scores_keeps_judged_positives() -> None:
    found = {row["query_id"]: row for row in rows("tevatron", awkward(), scores=False)}
    assert found["unscored"]["positive_passages"] == [
        {"docid": "e", "title": "", "text": "text of e"}
    ]


def test_tevatron_distill() -> None:
    assert rows("tevatron_distill")[1] == {
        "query_id": "q2",
        "query": "query q2",
        "passages": [{"title": "", "text": one} for one in text("d", "b", "e", "f")],
        "scores": pytest.approx([3.0, 0.1, -1.0, -4.0]),
    }


def test_id_triple() -> None:
    assert rows("id_triple") == [
        {"query_id": "q1", "document_ids": ["a", "b", "c"], "scores": [5.0, 1.5, -2.25]},
        {
            "query_id": "q2",
            "document_ids": ["d", "b", "e"],
            "scores": pytest.approx([3.0, 0.1, -1.0]),
        },
    ]


def test_id_triple_writes_each_wanted_document_once() -> None:
    form = build("id_triple", {}, rules=RULES)
    written = form.write(plain(), split="train", part="p")
    assert sorted(written.documents) == ["a", "b", "c", "d", "e"]  # f is in no row
    queries = pq.read_table(io.BytesIO(written.files["queries/train-p.parquet"]))
    assert queries.to_pylist()[0] == {"query_id": "q1", "text": "query q1"}
    wanted = frozenset({"b", "e"})
    ((path, data),) = form.write_documents(plain(), wanted, split="train", part="p").items()
    assert path == "documents/train-p.parquet"
    documents = pq.read_table(io.BytesIO(data))
    assert documents.schema.names == ["document_id", "text"]
    assert sorted(documents["document_id"].to_pylist()) == ["b", "e"]
