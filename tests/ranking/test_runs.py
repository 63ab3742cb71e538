from __future__ import annotations

import itertools
import random

import pyarrow as pa
import pytest

from pipeline.errors import InputContractError
from pipeline.ranking.runs import (
    Run,
    first_stage_run,
    named_once,
    parse_trec_run,
    ranked_run,
)


def ranked(**columns: object) -> pa.Table:
    """Two queries of a ranked output, one candidate unscored; keywords replace columns."""
    table = {
        "query_id": pa.array([7, 7, 7, 12]),
        "doc_id": pa.array(["b", "a", "c", "a"]),
        "rank": pa.array([1, 2, 3, 1], pa.int32()),
        "score": pa.array([2.5, 2.5, None, -1.0], pa.float32()),
        "first_stage_rank": pa.array([3, 1, 2, 1], pa.int32()),
        "first_stage_score": pa.array([1.0, 3.0, 2.0, None]),
        "reason": pa.array([None, None, "empty_text", None]),
    }
    return pa.table({**table, **columns})


def test_ranked_output_gives_both_orders() -> None:
    table = ranked()
    assert ranked_run(table, "new") == Run("new", {"7": ["b", "a", "c"], "12": ["a"]})
    assert first_stage_run(table, "old").rankings == {"7": ["a", "c", "b"], "12": ["a"]}


def test_candidates_without_an_id_and_repeated_ones_have_no_place_in_an_order() -> None:
    table = pa.table(
        {
            "query_id": pa.array([7, 7, 7, 7, 7, 7, None]),
            "doc_id": pa.array(["b", "a", "b", "c", "c", None, "a"]),
            "rank": pa.array([1, 2, 3, 4, 5, 6, 1], pa.int32()),
            "reason": [None, None, "duplicate_document", "null_text", "null_text", "null_doc_id",
                       "null_query_id"],
        }
    )  # fmt: skip
    assert ranked_run(named_once(table), "x").rankings == {"7": ["b", "a", "c"]}
    assert ranked_run(named_once(ranked()), "x") == ranked_run(ranked(), "x")
    twice = table.set_column(3, "reason", pa.nulls(7, pa.string())).slice(0, 3)
    with pytest.raises(InputContractError, match="listed twice"):
        ranked_run(named_once(twice), "x")


def test_row_order_and_chunks_do_not_matter() -> None:
    expected = ranked_run(ranked(), "x").rankings
    for order in itertools.permutations(range(4)):
        pieces = [ranked().slice(row, 1) for row in order]
        assert ranked_run(pa.concat_tables(pieces), "x").rankings == expected


@pytest.mark.parametrize(
    "kind",
    [pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int8(), pa.string())],
)
def test_text_ids_of_any_arrow_type(kind: pa.DataType) -> None:
    docs = pa.array(["b", "a", "c", "a"])
    docs = docs.dictionary_encode() if pa.types.is_dictionary(kind) else docs.cast(kind)
    assert ranked_run(ranked(doc_id=docs), "x") == ranked_run(ranked(), "x")


def test_equal_first_stage_ranks_go_by_doc_id_in_its_own_type() -> None:
    same = {"query_id": pa.array([1, 1, 1]), "first_stage_rank": pa.array([1, 1, 1])}
    numbers = pa.table({**same, "doc_id": pa.array([10, 9, 100])})
    texts = pa.table({**same, "doc_id": pa.array(["10", "9", "100"])})
    assert first_stage_run(numbers, "x").rankings == {"1": ["9", "10", "100"]}
    assert first_stage_run(texts, "x").rankings == {"1": ["10", "100", "9"]}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (ranked().drop_columns("rank"), "missing column 'rank'"),
        (ranked(query_id=pa.array([1, None, 1, 1])), "column 'query_id' holds 1 null"),
        (ranked(rank=pa.array([1.0, 2.0, 3.0, 1.0])), "'rank' holds double; expected integers"),
        (ranked(doc_id=["b", "a", "b", "a"]), "document 'b' is listed twice for query '7'"),
    ],
)
def test_a_table_that_is_no_run(table: pa.Table, expected: str) -> None:
    with pytest.raises(InputContractError, match=r"^run 'mine': ") as raised:
        ranked_run(table, "mine")
    assert expected in str(raised.value)


def test_scores_are_minus_ranks() -> None:
    run = Run("x", {"q": ["a", "b", "c"], "other": ["d"]})
    assert run.scores(["q"]) == {"q": {"a": -1.0, "b": -2.0, "c": -3.0}}


def test_trec_run_is_ordered_by_score_then_rank() -> None:
    text = (
        "q1 Q0 low 1 -inf tag\n"
        "q1\tQ0\ttied\t3\t2.5\ttag\n"
        "\n"
        "q1 Q0 first 9 1e2 tag\r\n"
        "q1 Q0 alsotied 2 2.50 tag\n"
        "q0 Q0 first 1 0 tag\n"
    )
    expected = Run("mine", {"q1": ["first", "alsotied", "tied", "low"], "q0": ["first"]})
    assert parse_trec_run(text, "run.txt", "mine") == expected
    assert parse_trec_run(text.encode(), "run.txt", "mine") == expected


def test_trec_run_does_not_depend_on_line_order() -> None:
    lines = [f"q{i % 3} Q0 d{i} {i} {(i * 7) % 5} t" for i in range(1, 31)]
    expected = parse_trec_run("\n".join(lines), "x", "x").rankings
    random.Random(0).shuffle(lines)
    assert parse_trec_run("\n".join(lines), "x", "x").rankings == expected


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("q Q0 d 1 1.0\n", 1, "expected 6 fields 'query_id Q0 doc_id rank score tag', found 5"),
        ("q Q0 d 1 1.0 t\nq Q0 e x 1.0 t\n", 2, "expected an integer rank, found 'x'"),
        ("q Q0 d 1 nan t\n", 1, "expected a number as score, found 'nan'"),
        ("q Q0 d 1 1_0 t\n", 1, "expected a number as score, found '1_0'"),
        ("q Q0 d 1 1 t\nr Q0 d 1 1 t\nq Q0 d 2 0 t\n", 3, "document 'd' is listed twice"),
    ],
)
def test_a_bad_trec_line_is_named(text: str, line: int, expected: str) -> None:
    with pytest.raises(InputContractError) as raised:
        parse_trec_run(text, "some/run.txt", "mine")
    assert str(raised.value).startswith(f"some/run.txt, line {line}: ")
    assert expected in str(raised.value)


def test_an_empty_trec_run_is_an_error() -> None:
    with pytest.raises(InputContractError, match=r"^run\.txt: no line found"):
        parse_trec_run("\n", "run.txt", "mine")
