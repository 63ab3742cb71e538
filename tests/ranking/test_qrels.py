from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputContractError
from pipeline.ranking.qrels import read_qrels
from pipeline.storage.parquet import to_bytes

IDS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\n",
        "q1\t0\td1\t2\nq1\tQ0\td2\t0\nq2\t0\td1\t-1",
        "\ufeffq1 0\td1  2\r\n\r\n  q1 0 d2 +0\r\nq2 0 d1 -1\r\n",
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n",
        "query_id corpus_id score\nq1 d1 2\nq1 d2 0\nq2 d1 -1\n",
        "qid iteration docno label\nq1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\n",
        'Label,Query_ID,docid,x\r\n2,q1,"d1",\r\n0,q1,d2,\r\n-1.0,q2,d1,"a, b"\r\n',
        '{"qid": "q1", "docno": "d1", "rel": 2}\n{"qid": "q1", "docno": "d2", "rel": 0.0}\n\n'
        '{"docno": "d1", "rel": "-1", "qid": "q2", "more": [1]}',
    ],
)
def test_forms(text: str) -> None:
    expected = {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}
    assert read_qrels(text, "qrels.tsv") == expected
    assert read_qrels(text.encode(), "qrels.tsv") == expected


def test_grades_of_a_column_of_floats_are_grades() -> None:
    text = "q1 0 d1 1.0\nq1 0 d2 2.\nq1 0 d3 -0.0\nq1 0 d1 1\n"
    assert read_qrels(text, "x") == {"q1": {"d1": 1, "d2": 2, "d3": 0}}


def test_ids_that_look_like_json_are_ids() -> None:
    assert read_qrels("{ 0 d1 1\n{} 0 {} 1\n", "x") == {"{": {"d1": 1}, "{}": {"{}": 1}}


def test_integer_ids_stay_as_they_are_written() -> None:
    assert read_qrels("007 0 0042 1\n", "x") == {"007": {"0042": 1}}


def test_tabs_keep_blanks_in_ids() -> None:
    assert read_qrels("first query\t0\tsome doc\t1\n", "x") == {"first query": {"some doc": 1}}


def test_only_a_line_feed_ends_a_line() -> None:
    assert read_qrels("q1\t0\td\u2028\u0085x\t1\n", "x") == {"q1": {"d\u2028\u0085x": 1}}


def test_the_same_judgement_twice_is_one() -> None:
    assert read_qrels("q 0 d 1\nq 0 d 1\n", "x") == {"q": {"d": 1}}


@pytest.mark.parametrize(
    ("data", "line", "expected"),
    [
        ("q1 0 d1 1\nq1 0 d2\n", 2, "expected 4 fields 'query_id 0 doc_id relevance', found 3"),
        ("q1 d1 1\n", 1, "three columns need the header 'query-id corpus-id score'"),
        ("\nq1 0 d1 1 more\n", 2, "found 5"),
        ("q1 0 d1 1.5\n", 1, "expected an integer relevance"),
        ("q1 0 d1 1e0\n", 1, "expected an integer relevance"),
        ("q1 0 d1 1_0\n", 1, "found '1_0'"),
        ("q1 0 d1 ٣\n", 1, "expected an integer relevance"),
        ("q1 0 d1 1000001\n", 1, "from -1000000 to 1000000"),
        ("q1 0 d1 1\nq1 0 d1 2\n", 2, "has relevance 2 here and 1 further up"),
        ("query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", 2, "expected 3 fields"),
        (b"q1 0 d1 1\nq1 0 \xff 1\n", 2, "found byte 0xff"),
        (b"\x1f\x8b\x08", 1, "decompress"),
        ("query_id,doc_id,relevance\nq1,d1\n", 2, "expected 3 fields 'query_id doc_id relevance'"),
        ("query_id,doc_id,relevance\nq1,,1\n", 2, "an id is empty"),
        ('{"qid": "q1", "docno": "d1", "label": 1}\n[1]\n', 2, "expected a JSON object"),
        ('{"qid": "q1", "docno": "d1"}\n', 1, "expected columns query_id, doc_id, relevance"),
        ('{"qid": "q1", "docno": {"a": 1}, "label": 1}\n', 1, "'docno' holds dict"),
        ('{"qid": "q1", "docno": null, "label": 1}\n', 1, "'docno' holds NoneType"),
        ('{"qid": 1.5, "docno": "d1", "label": 1}\n', 1, "'qid' holds float"),
    ],
)
def test_a_bad_line_is_named(data: bytes | str, line: int, expected: str) -> None:
    with pytest.raises(InputContractError) as raised:
        read_qrels(data, "some/qrels.tsv")
    assert str(raised.value).startswith(f"some/qrels.tsv, line {line}: ")
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("ids", "grades"),
    [
        (pa.array(["7", "7", "12"]), pa.array([2, 0, 1])),
        (pa.array([7, 7, 12], pa.uint64()), pa.array([2, 0, 1], pa.int8())),
        (pa.array([7.0, 7.0, 12.0]), pa.array([2.0, 0.0, 1.0], pa.float32())),
        (pa.array([7, 7, 12], pa.decimal128(20, 0)), pa.array(["2", "0.0", "+1"])),
        (pa.array(["7", "7", "12"]).dictionary_encode(), pa.array([b"2", b"0", b"1"])),
        (pa.array([b"7", b"7", b"12"]), pa.array(["2", "0", "1"], pa.string_view())),
    ],
    ids=lambda array: str(array.type),
)
def test_columns_of_parquet(ids: pa.Array, grades: pa.Array) -> None:
    table = pa.table(
        {"corpus-id": ["a", "b", "a"], "score": grades, "split": 3 * ["test"], "qid": ids}
    )
    assert read_qrels(to_bytes(table), "x.parquet") == {"7": {"a": 2, "b": 0}, "12": {"a": 1}}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"qid": ["q"], "docno": ["d"]}, "expected columns query_id, doc_id, relevance"),
        ({"qid": ["q"], "docno": [["d"]], "label": [1]}, "'docno' holds list<"),
        ({"qid": ["q"], "docno": [{"id": "d"}], "label": [1]}, "'docno' holds struct<"),
        ({"qid": ["q"], "docno": ["d"], "label": [{"d": 1}]}, "'label' holds struct<"),
        ({"qid": ["q", None], "docno": ["d", "e"], "label": [1, 1]}, "row 2: column 'qid' is null"),
        ({"qid": [1.0, 1.5], "docno": ["d", "e"], "label": [1, 1]}, "row 2: column 'qid' holds 1"),
        ({"qid": [1e17], "docno": ["d"], "label": [1]}, "row 1: column 'qid' holds 1e+17"),
        ({"qid": [float("nan")], "docno": ["d"], "label": [1]}, "column 'qid' holds nan"),
        ({"qid": ["q"], "docno": ["d"], "label": [0.5]}, "row 1: column 'label' holds 0.5"),
        ({"qid": ["q"], "docno": ["d"], "label": ["two"]}, "row 1: expected an integer relevance"),
        ({"qid": ["q"], "docno": [b"\xff"], "label": [1]}, "holds bytes that are not UTF-8"),
        ({"qid": ["q"], "docno": [""], "label": [1]}, "row 1: an id is empty"),
        ({"qid": ["q", "q"], "docno": ["d", "d"], "label": [1, 2]}, "row 2: document 'd' of query"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_parquet_is_named(
    columns: dict[str, list[object]], expected: str
) -> None:
    with pytest.raises(InputContractError) as raised:
        read_qrels(to_bytes(pa.table(columns)), "some/qrels.parquet")
    assert str(raised.value).startswith("some/qrels.parquet")
    assert expected in str(raised.value)


def test_parquet_that_is_cut_off_is_said() -> None:
    with pytest.raises(InputContractError, match=r"^qrels\.parquet: .*footer is missing"):
        read_qrels(b"PAR1\x15\x04", "qrels.parquet")


@pytest.mark.parametrize("text", ["", "\n \n", "query-id\tcorpus-id\tscore\n"])
def test_nothing_judged_is_an_error(text: str) -> None:
    with pytest.raises(InputContractError, match=r"^qrels\.tsv: no judgement found"):
        read_qrels(text, "qrels.tsv")


@given(
    st.dictionaries(
        IDS, st.dictionaries(IDS, st.integers(-5, 5), min_size=1, max_size=4), min_size=1
    )
)
def test_both_forms_round_trip(qrels: dict[str, dict[str, int]]) -> None:
    rows = [(query, doc, r) for query, docs in qrels.items() for doc, r in docs.items()]
    trec = "".join(f"{query} 0 {doc} {r}\n" for query, doc, r in rows)
    beir = "query-id\tcorpus-id\tscore\n" + "".join(f"{q}\t{doc}\t{r}\n" for q, doc, r in rows)
    assert read_qrels(trec, "x") == read_qrels(beir, "x") == qrels


def test_a_long_line_is_cut_in_the_message() -> None:
    for line in (f"1 0 2 {'9' * 10_000}", f"1 0 {'x' * 10_000} 1 too many"):
        with pytest.raises(InputContractError, match=r"line 1: expected .*\.\.\.'") as caught:
            read_qrels(line, "qrels.txt")
        assert len(str(caught.value)) < 300
