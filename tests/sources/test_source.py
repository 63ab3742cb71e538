from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import pickle
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import InputConfig
from pipeline.errors import ConfigurationError, InputContractError, NotFoundError
from pipeline.sources.source import open_source, read_shard
from tests.support.source_rows import Rows, plain, rows_of, write

#: Any text that UTF-8 can hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)

#: Texts that a line of TSV can hold, and ids that a TREC run can.
LINE_TEXT = TEXT.map(lambda text: text.translate({9: 32, 10: 32, 13: 32}))
TREC_ID = st.sampled_from(["{", "{}", "[", "<html>", "PAR1", "ORC"]) | st.text(
    st.characters(exclude_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=8
)

FIELDS = ("query_id", "query", "doc_id", "text")


def candidates(text: st.SearchStrategy[str]) -> st.SearchStrategy[Rows]:
    one = st.fixed_dictionaries({"query_id": text, "query": text, "doc_id": text, "text": text})
    return st.lists(one, min_size=1, max_size=6)


def read_back(name: str, data: bytes, target: int, **options: Any) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        return rows_of("candidates", write(Path(folder) / name, data), target, **options)


INLINE: dict[str, Any] = {"corpus": None, "queries": None}


@settings(max_examples=40, deadline=None)
@given(candidates(TEXT), st.integers(1, 60), st.sampled_from([bytes, gzip.compress, bz2.compress]))
def test_json_lines_read_back_as_they_were(rows: Rows, target: int, pack: Any) -> None:
    data = "".join(json.dumps(row, ensure_ascii=len(row["text"]) > 3) + "\n" for row in rows)
    assert plain(read_back("x", pack(data.encode()), target, **INLINE)) == rows


@settings(max_examples=40, deadline=None)
@given(candidates(TEXT), st.integers(1, 60))
def test_nested_json_lines_read_back_as_they_were(rows: Rows, target: int) -> None:
    items = [{"doc_id": row["doc_id"], "text": row["text"]} for row in rows]
    line = {"query_id": "q", "query": rows[0]["query"], "candidates": items}
    found = read_back("x", (json.dumps(line) + "\n" + json.dumps(line)).encode(), target, **INLINE)
    assert [{k: row[k] for k in ("doc_id", "text")} for row in plain(found)] == 2 * items
    assert [row["_item"] for row in found] == 2 * list(range(len(items)))


@settings(max_examples=40, deadline=None)
@given(candidates(LINE_TEXT), st.integers(1, 60), st.sampled_from([bytes, gzip.compress]))
def test_tsv_reads_back_as_it_was(rows: Rows, target: int, pack: Any) -> None:
    lines = ["\t".join(FIELDS), *("\t".join(row[name] for name in FIELDS) for row in rows)]
    data = "\r\n".join(lines) if target % 2 else "\n".join(lines)
    assert plain(read_back("x", pack(data.encode()), target, **INLINE)) == rows


@settings(max_examples=40, deadline=None)
@given(candidates(TEXT))
def test_csv_reads_back_as_it_was(rows: Rows) -> None:
    data = io.StringIO(newline="")
    writer = csv.DictWriter(data, FIELDS)
    writer.writeheader()
    writer.writerows(rows)
    assert plain(read_back("x.csv", data.getvalue().encode(), 1, **INLINE)) == rows


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(TREC_ID, TREC_ID, st.integers(-9, 2**31 - 1), st.floats(allow_nan=False)),
             min_size=1, max_size=6),
    st.integers(1, 60),
)  # fmt: skip
def test_a_trec_run_reads_back_as_it_was(
    rows: list[tuple[str, str, int, float]], target: int
) -> None:
    data = "".join(f"{q}\tQ0  {d} {rank} {score!r} tag\n" for q, d, rank, score in rows)
    found = plain(read_back("x", data.encode(), target))
    assert found == [
        {"query_id": q, "doc_id": d, "first_stage_score": score, "first_stage_rank": rank}
        for q, d, rank, score in rows
    ]


@settings(max_examples=40, deadline=None)
@given(candidates(TEXT), st.integers(1, 3), st.integers(1, 300))
def test_parquet_reads_back_as_it_was(rows: Rows, group: int, target: int) -> None:
    data = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), data, row_group_size=group)
    found = read_back("x", data.getvalue(), target, **INLINE)
    assert plain(found) == rows
    assert [row["_row"] for row in found] == list(range(len(rows)))


def parquet(path: Path, rows: Rows | pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows) if isinstance(rows, list) else rows
    pq.write_table(table, path, row_group_size=2)
    return path


# --- layouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("q1\td7\t3", {"query_id": "q1", "doc_id": "d7", "first_stage_rank": 3}),
        ("007\t9007199254740993\t1",
         {"query_id": "007", "doc_id": "9007199254740993", "first_stage_rank": 1}),
        ("qid\tdocno\tscore\nq\td\t0.5",
         {"query_id": "q", "doc_id": "d", "first_stage_score": 0.5}),
        ("qid,docno,score\nq,d,", {"query_id": "q", "doc_id": "d", "first_stage_score": None}),
        ('{"qid": 7, "docid": 9007199254740993, "rank": 2}',
         {"query_id": "7", "doc_id": "9007199254740993", "first_stage_rank": 2}),
        ("q Q0 d 1 nan x", {"query_id": "q", "doc_id": "d", "first_stage_rank": 1}),
    ],
)  # fmt: skip
def test_candidates_with_ids_only(line: str, row: dict[str, Any], tmp_path: Path) -> None:
    [found] = plain(rows_of("candidates", write(tmp_path / "x", line)))
    assert {name: found[name] for name in row} == row


def test_msmarco_top1000_has_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "top1000.tsv", '1\t2\tsome "query\ta passage\\\n')
    [row] = plain(rows_of("candidates", path, **INLINE))
    assert row == {"query_id": "1", "doc_id": "2", "query": 'some "query', "text": "a passage\\"}


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("7\tsome text\n", {"doc_id": "7", "text": "some text"}),
        ("D1\thttp://x\tTitle\tBody\n", {"doc_id": "D1", "title": "Title", "text": "Body"}),
        ('{"_id": "a", "title": "T", "text": "x", "metadata": {}}',
         {"doc_id": "a", "title": "T", "text": "x"}),
        ('{"id": 1, "contents": "x"}', {"doc_id": "1", "text": "x"}),
        ("id\ttext\ttitle\na\tx\tT\n", {"doc_id": "a", "title": "T", "text": "x"}),
        ('id,text\na,"x, ""y""\nz"\n', {"doc_id": "a", "text": 'x, "y"\nz'}),
    ],
)  # fmt: skip
def test_layouts_of_a_corpus(content: str, row: dict[str, Any], tmp_path: Path) -> None:
    assert plain(rows_of("corpus", write(tmp_path / "x", content))) == [row]


@pytest.mark.parametrize(
    "content",
    ['{"_id": "1", "text": "what"}', "1\twhat", "qid\tquery\n1\twhat", "id,text\n1,what"],
)
def test_layouts_of_queries(content: str, tmp_path: Path) -> None:
    found = plain(rows_of("queries", write(tmp_path / "x", content)))
    assert found == [{"query_id": "1", "query": "what"}]


def test_columns_are_mapped_and_passed_through(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "frage\tsatz\tsprache\n1\t2\tde\n")
    mapped = {"query_id": "frage", "doc_id": "satz"}
    [row] = plain(rows_of("candidates", path, columns=mapped, pass_through=("sprache",)))
    assert row == {"query_id": "1", "doc_id": "2", "sprache": "de"}
    corpus = write(tmp_path / "y", '{"satz": "2", "kopf": "K", "body": "B", "year": 1999}')
    [row] = plain(rows_of("corpus", corpus, columns=mapped, pass_through=("year",),
                          text_columns=["kopf", "body"]))  # fmt: skip
    assert row == {"doc_id": "2", "kopf": "K", "body": "B", "year": 1999}


def test_parquet_keeps_the_type_of_ids_and_needs_no_texts_by_reference(tmp_path: Path) -> None:
    rows = [{"query_id": 2**53 + 1, "doc_id": 1, "score": 1.5}]
    [row] = plain(rows_of("candidates", parquet(tmp_path / "x.parquet", rows)))
    assert row == {"query_id": 2**53 + 1, "doc_id": 1, "first_stage_score": 1.5}
    with pytest.raises(InputContractError, match=r"no column 'query'.*input\.queries"):
        rows_of("candidates", tmp_path / "x.parquet", **INLINE)
    with pytest.raises(InputContractError, match=r"no column 'text'.*input\.corpus"):
        rows_of("candidates", tmp_path / "x.parquet", corpus=None)


def test_nested_parquet_gives_a_row_for_each_candidate_and_one_for_none(tmp_path: Path) -> None:
    lists = [[{"doc_id": "a", "score": 1.0}, {"doc_id": None, "score": 2.0}], [], None,
             [{"doc_id": "b", "score": 3.0}]]  # fmt: skip
    rows = [{"query_id": f"q{n}", "candidates": items} for n, items in enumerate(lists)]
    found = rows_of("candidates", parquet(tmp_path / "x.parquet", rows), target=1)
    keys = ("query_id", "doc_id", "first_stage_score", "reason", "_row", "_item")
    assert [tuple(row[key] for key in keys) for row in found] == [
        ("q0", "a", 1.0, None, 0, 0),
        ("q0", None, 2.0, None, 0, 1),
        ("q1", None, None, "no_candidates", 1, 0),
        ("q2", None, None, "no_candidates", 2, 0),
        ("q3", "b", 3.0, None, 3, 0),
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows)
    same = rows_of("candidates", write(tmp_path / "x.jsonl", data))
    assert [tuple(row[key] for key in keys[:4]) for row in same] == [
        tuple(row[key] for key in keys[:4]) for row in found
    ]


def test_columns_of_the_path_are_read_filtered_and_mapped(tmp_path: Path) -> None:
    for lang in ("de", "en%2Fus"):
        rows = [{"query_id": f"q-{lang}", "doc_id": "d"}]
        parquet(tmp_path / "in" / f"lang={lang}" / "x.parquet", rows)
    found = rows_of("candidates", tmp_path / "in", pass_through=("lang",))
    assert [row["lang"] for row in found] == ["de", "en/us"]
    only = rows_of("candidates", tmp_path / "in", filter=(("lang", "==", "de"),))
    assert [row["query_id"] for row in only] == ["q-de"]
    mapped = rows_of("candidates", tmp_path / "in", columns={"query_id": "lang"})
    assert [row["query_id"] for row in mapped] == ["de", "en/us"]


def test_structs_of_lists_and_named_places_are_candidates(tmp_path: Path) -> None:
    passages = {"pid": ["a", "b"], "score": [2.0, 1.0]}
    path = parquet(tmp_path / "x.parquet", [{"query_id": "q", "passages": passages}])
    found = rows_of("candidates", path)
    assert [(row["doc_id"], row["first_stage_score"]) for row in found] == [("a", 2.0), ("b", 1.0)]
    texts = parquet(tmp_path / "y.parquet", [{"qid": "q", "query": "w", "passages": ["s", "t"]}])
    named = rows_of("candidates", texts, columns={"doc_id": "@position"}, **INLINE)
    assert [(row["doc_id"], row["text"]) for row in named] == [("0", "s"), ("1", "t")]


def test_decimal_ids_are_integers_or_text(tmp_path: Path) -> None:
    for name, precision in (("x", 18), ("y", 38)):
        ids = pa.array([Decimal(10**15 + 1)], pa.decimal128(precision, 0))
        table = pa.table({"query_id": ["q"], "doc_id": ids})
        [row] = rows_of("candidates", parquet(tmp_path / f"{name}.parquet", table))
        assert row["doc_id"] == (10**15 + 1 if name == "x" else "1000000000000001")


def test_files_agree_on_types_and_missing_columns_are_null(tmp_path: Path) -> None:
    parquet(tmp_path / "in" / "a.parquet", pa.table({"doc_id": pa.array([1], pa.int32()),
                                                     "text": ["x"]}))  # fmt: skip
    parquet(tmp_path / "in" / "b.parquet", pa.table({"doc_id": pa.array([2**40], pa.int64()),
                                                     "title": ["T"], "text": ["y"]}))  # fmt: skip
    found = rows_of("corpus", tmp_path / "in")
    assert [(row["doc_id"], row["title"], row["_file"]) for row in found] == [
        (1, None, 0), (2**40, "T", 1),
    ]  # fmt: skip
    parquet(tmp_path / "in" / "c.parquet", [{"doc_id": "x", "text": "y"}])
    with pytest.raises(InputContractError, match=r"c\.parquet: 'doc_id' holds string, but int"):
        rows_of("corpus", tmp_path / "in")


def test_files_without_rows_agree_with_any_other(tmp_path: Path) -> None:
    nothing = pa.array([], pa.float64())
    parquet(tmp_path / "in" / "a.parquet", pa.table({"doc_id": nothing, "text": nothing}))
    parquet(tmp_path / "in" / "b.parquet", [{"doc_id": 7, "text": "x"}])
    assert plain(rows_of("corpus", tmp_path / "in")) == [{"doc_id": 7, "text": "x"}]
    assert rows_of("corpus", tmp_path / "in" / "a.parquet") == []


# --- what is wrong with lines ----------------------------------------------------------------


def test_bad_lines_of_candidates_are_rows_with_a_reason_and_a_place(tmp_path: Path) -> None:
    run = b"q Q0 a 1 2.5 x\nq Q0 b 2\nq Q0 c one 2 x\nq Q0 \xff 4 1 x\n\nq Q0 d 5 0 x\n"
    path = write(tmp_path / "run", run)
    for target in (1, 20, 1000):
        found = rows_of("candidates", path, target)
        assert [(row["doc_id"], row["reason"], row["_row"]) for row in found] == [
            ("a", None, 0), (None, "malformed_line", 15), ("c", "malformed_line", 24),
            (None, "malformed_line", 39), ("d", None, 53),
        ]  # fmt: skip
        assert found[1]["message"] == (
            f"{path}, byte 15: 4 field(s), expected 6 (query_id Q0 doc_id rank score tag)"
        )
        assert "first_stage_rank is not a whole number" in found[2]["message"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"qid": 1.5, "docid": "x"}', "'qid' holds a number, expected text or a whole number"),
        ('{"qid": true, "docid": "x"}', "'qid' holds a truth value"),
        ('{"qid": "q", "docid": {}}', "'docid' holds an object"),
        ('{"qid": "q", "docid": ' + "9" * 5000 + "}", "nested or long beyond use"),
        ('{"qid": "q"', "no JSON"),
        ("[1]", "no JSON object"),
        ('{"qid":' * 100_000, "nested or long beyond use"),
        ('{"qid": "\\ud800", "docid": "x"}', "the query_id is not valid UTF-8"),
    ],
)
def test_bad_json_lines(line: str, told: str, tmp_path: Path) -> None:
    good = '{"qid": "q", "docid": "d"}\n'
    found = rows_of("candidates", write(tmp_path / "x", good + line + "\n" + good))
    assert [row["reason"] for row in found] == [None, "malformed_line", None]
    assert told in found[1]["message"]
    assert found[1]["_row"] == len(good)


@pytest.mark.parametrize(
    ("role", "header"),
    [
        ("candidates", "QUERY_ID\tQUERY\tDOC_ID\tTEXT"),
        ("candidates", "queryId\tdocId\trank"),
        ("candidates", "Query ID\tDoc ID\tquery\ttext"),
        ("corpus", "ID\tText"),
        ("queries", "QID\tQuery"),
        ("candidates", "QID,DocNo"),
    ],
)
def test_a_header_in_another_spelling_is_not_taken_for_a_row(
    role: Any, header: str, tmp_path: Path
) -> None:
    own = header.split("," if "," in header else "\t")
    row = ("," if "," in header else "\t").join(["1"] * len(own))
    path = write(tmp_path / "x", f"{header}\n{row}\n")
    with pytest.raises(InputContractError, match=r"another spelling.*--set input\.columns\."):
        rows_of(role, path)
    mapped = {"candidates": ["query_id", "doc_id"], "corpus": ["doc_id", "text"],
              "queries": ["query_id", "query"]}[role]  # fmt: skip
    places = [0, 2 if "QUERY" in own else 1] if role == "candidates" else [0, 1]
    columns = {ours: own[place] for ours, place in zip(mapped, places, strict=True)}
    assert len(rows_of(role, path, columns=columns)) == 1


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("title", 1984, "'title' holds a number, expected text"),
        ("text", True, "'text' holds a truth value"),
        ("query", 7, "'query' holds a number"),
        ("text", ["a"], "'text' holds a list"),
        ("score", "n/a", "first_stage_score is not a number"),
        ("rank", [1], "'rank' holds a list"),
    ],
)
def test_one_odd_line_of_json_costs_itself_wherever_it_stands(
    first: bool, column: str, value: object, told: str, tmp_path: Path
) -> None:
    good = {"qid": "q", "query": "a", "docid": "d", "text": "b"}
    lines = [json.dumps(line) for line in (good | {column: value}, good, good)]
    content = "".join(line + "\n" for line in (lines if first else lines[::-1]))
    found = rows_of("candidates", write(tmp_path / "x.jsonl", content), **INLINE)
    expected = ["malformed_line", None, None]
    assert [row["reason"] for row in found] == (expected if first else expected[::-1])
    assert any(told in (row["message"] or "") for row in found)


@pytest.mark.parametrize("odd", ["abc", {}, 5, ["a", "b"]])
def test_one_odd_list_of_json_costs_itself(odd: object, tmp_path: Path) -> None:
    item = {"docid": "d", "text": "b"}
    lists = [odd, [item, None, "x"], [item, item], [item]]
    content = "\n".join(
        json.dumps({"qid": f"q{n}", "query": "a", "candidates": value})
        for n, value in enumerate(lists)
    )
    found = rows_of("candidates", write(tmp_path / "x.jsonl", content), **INLINE)
    good = [row["query_id"] for row in found if row["reason"] is None]
    assert good == ["q1", "q2", "q2", "q3"]
    assert {row["reason"] for row in found} == {None, "malformed_line"}


@pytest.mark.parametrize(
    ("role", "own", "early", "late"),
    [
        ("corpus", {}, {"_id": "a", "text": "b"}, "title"),
        ("corpus", {}, {"_id": "a", "title": "b", "image": "x.png"}, "body"),
        ("corpus", {"columns": {"title": "name"}}, {"_id": "a", "text": "b"}, "name"),
        ("queries", {}, {"_id": "a", "query": "b"}, "query_image"),
        ("candidates", INLINE, {"qid": "q", "query": "a", "docid": "d", "text": "b"}, "title"),
    ],
)
def test_content_that_no_first_line_has_costs_the_lines_that_have_it(
    role: Any, own: dict[str, Any], early: dict[str, str], late: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    many = [early] * (70_000 // len(json.dumps(early)))  # more than is looked at
    lines = [*many, early | {late: "T"}, early | {late: None}, early | {"other": "T"}]
    found = rows_of(role, write(tmp_path / "x.jsonl", "\n".join(map(json.dumps, lines))), **own)
    of_candidates = role == "candidates"  # of others such lines are left out, and told
    expected = [None] * len(many) + ["malformed_line"] * of_candidates + [None, None]
    assert [row["reason"] for row in found] == expected
    told = str(found[len(many)]["message"]) if of_candidates else caplog.text
    assert f"'{late}' is here and in none of the first lines" in told
    lines.insert(0, early | {late: None})  # as it advises
    found = rows_of(role, write(tmp_path / "y.jsonl", "\n".join(map(json.dumps, lines))), **own)
    assert [row["reason"] for row in found] == [None] * len(lines)


def test_content_that_no_first_item_has_costs_the_items_that_have_it(tmp_path: Path) -> None:
    item = {"docid": "d", "text": "b"}
    lists = [[item]] * 1500 + [[item | {"title": "T"}, item]]
    lines = (json.dumps({"qid": "q", "query": "a", "candidates": items}) for items in lists)
    found = rows_of("candidates", write(tmp_path / "x.jsonl", "\n".join(lines)), **INLINE)
    assert [row["reason"] for row in found] == [None] * 1500 + ["malformed_line", None]


def test_bad_records_of_csv(tmp_path: Path) -> None:
    content = 'qid,docid\na,1\nb\n"c"x,3\nd,4\n\n"e,5\n'
    found = rows_of("candidates", write(tmp_path / "x.csv", content))
    assert [(row["doc_id"], row["reason"], row["_row"]) for row in found] == [
        ("1", None, 1), (None, "malformed_line", 2), (None, "malformed_line", 3), ("4", None, 4),
        (None, "malformed_line", 5),
    ]  # fmt: skip


def test_text_that_is_not_utf8_has_the_reason_that_parquet_has(tmp_path: Path) -> None:
    for name, content in (
        ("x.tsv", b"1\t\xff\xfe x\n2\tok\n"),
        ("x.jsonl", b'{"_id": "1", "text": "\xff"}\n{"_id": "2", "text": "ok"}\n'),
        ("y.jsonl", b'{"_id": "1", "text": "\\udc00"}\n{"_id": "2", "text": "ok"}\n'),
        ("x.csv", b"id,text\n1,\xff\n2,ok\n"),
    ):
        found = rows_of("corpus", write(tmp_path / name, content))
        assert [(row["doc_id"], row["text"], row["reason"]) for row in found] == [
            ("1", None, "invalid_utf8"), ("2", "ok", None),
        ]  # fmt: skip


def test_bad_lines_of_a_corpus_are_counted_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "c.tsv", "1\tx\n" + "bad\n" * 5 + "2\ty\n")
    with caplog.at_level(logging.WARNING, logger="pipeline"):
        found = rows_of("corpus", path)
    assert [row["doc_id"] for row in found] == ["1", "2"]
    assert "5 line(s) of the corpus cannot be read" in caplog.text
    assert "byte 4: 1 field(s), expected 2" in caplog.text
    assert caplog.text.count("1 field(s)") == 3


def test_nul_bytes_and_control_characters_are_text(tmp_path: Path) -> None:
    text = "a\0b\x1bc\u2028d\u0085e"
    [row] = rows_of("corpus", write(tmp_path / "x.tsv", f"1\t{text}\n"))
    assert row["text"] == text


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "content", "told"),
    [
        ("candidates", '{"a": 1}\n', "missing column 'query_id'"),
        ("candidates", "a\tb\n", "TSV of 2 columns without a header"),
        ("candidates", "a\tb\tc\n", "the last of which is no rank"),
        ("candidates", "q\td\t1\t2.5\n", "two of which are numbers"),
        ("candidates", "q\t0\td\t1\n", "these are judgements"),
        ("candidates", "a,b\n1,2\n", "CSV without a header that names query_id, doc_id"),
        ("candidates", "qid\tpid\tqid\n", "column 'qid' stands twice"),
        ("candidates", "{]\n{]\n", "no JSON object"),
        ("candidates", '{"qid": 1, "pid": 1.5}\n', "expected text or a whole number"),
        ("candidates", '{"qid": 1, "hits": ["a"]}\n', "list of strings"),
        ("corpus", "q Q0 d 1 2 x\n", "this is a TREC run, which is a list of candidates"),
        ("corpus", "1\tT\tx\n", "TSV of 3 columns"),
        ("queries", "1\tx\ty\n", "TSV of 3 columns"),
        ("queries", "", "the file is empty"),
    ],
)
def test_what_cannot_be_read_is_refused_by_a_sentence(
    role: Any, content: str, told: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x", content)
    with pytest.raises(InputContractError) as raised:
        rows_of(role, path)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)


def test_files_of_a_role_are_of_one_format(tmp_path: Path) -> None:
    write(tmp_path / "in/a.jsonl", '{"_id": "1", "text": "x"}')
    write(tmp_path / "in/b.tsv", "1\tx")
    with pytest.raises(InputContractError, match=r"b\.tsv: this is TSV, but .*a\.jsonl is JSON"):
        rows_of("corpus", tmp_path / "in")


def test_a_missing_path_and_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        rows_of("corpus", tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="unknown column 'docs'"):
        rows_of("corpus", write(tmp_path / "x", "1\tx"), columns={"docs": "x"})


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "1\tx\n")
    config = InputConfig(path=(str(path),))
    source = open_source("corpus", [str(path)], config)
    write(path, "1\ty\n2\tz\n")
    with pytest.raises(InputContractError, match="x"):
        list(read_shard(source, source.shards(100)[0]))


@pytest.mark.parametrize("column", ["text", "lang"])
def test_extension_types_are_refused_on_every_column_that_is_read(
    column: str, tmp_path: Path
) -> None:
    values = pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "t", "v"), pa.array([b"x"]))
    columns = {"query_id": ["q"], "query": ["q"], "doc_id": ["d"], "text": ["t"], "lang": ["en"]}
    path = parquet(tmp_path / "x.parquet", pa.table(columns | {column: values}))
    passed = ("lang",) if column == "lang" else ()
    with pytest.raises(InputContractError, match="extension type"):
        rows_of("candidates", path, pass_through=passed, **INLINE)
    if column == "lang":
        with pytest.raises(InputContractError, match="extension type"):
            rows_of("candidates", path, filter=[["lang", "==", "en"]], **INLINE)


# --- what others rely on ---------------------------------------------------------------------


def test_a_source_travels_and_says_what_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gz", gzip.compress(b"1\tsome text\n" * 5000))
    config = InputConfig(path=(str(path),))
    source = pickle.loads(pickle.dumps(open_source("corpus", [str(path)], config)))
    assert source.described()["files"][0]["path"] == str(path)
    assert source.described()["files"][0]["version"].startswith("sha256:")
    assert 30_000 < source.size_bytes < 120_000
    assert len(source.shards(1000)) == 1


def test_only_some_columns_are_read(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", [{"query_id": "q", "doc_id": "d", "score": "no number"}])
    config = InputConfig(path=(str(path),), corpus=("x",), queries=("x",))
    source = open_source("candidates", [str(path)], config)
    [shard] = source.shards(1000)
    [table] = read_shard(source, shard, columns=["query_id"])
    assert table.column_names == ["query_id", "_file", "_row", "_item"]
    with pytest.raises(InputContractError, match="row 0: column 'score' holds 'no number'"):
        list(read_shard(source, shard))
