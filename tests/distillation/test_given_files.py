"""Judgements, evaluation queries and corpora: read as named, in any type, or refused by name."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import DistillConfig
from pipeline.distillation.corpus import find_texts
from pipeline.distillation.evaluation_files import evaluation_queries_of
from pipeline.distillation.given_files import GivenFiles
from pipeline.errors import InputContractError, NotFoundError
from tests import hostile


def given_of(**sections: Any) -> GivenFiles:
    base = {"teachers": [{"run": "x"}], "output": {"path": "y"}}
    return GivenFiles.of(DistillConfig.model_validate(base | sections))


def with_corpus(corpus: Path) -> dict[str, Any]:
    """The section about positives that reads a corpus, which goes with judgements only."""
    qrels = corpus.parent / "judged.txt"
    qrels.write_text("1 0 1 1\n")
    return {"source": "qrels", "qrels": str(qrels), "corpus": str(corpus)}


def queries(path: Path, table: pa.Table) -> list[tuple[str | None, str]]:
    pq.write_table(table, path)
    given = given_of(decontaminate={"queries": [str(path)]})
    return [(one.query_id, one.text) for one in evaluation_queries_of(given, str(path))]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
)
def test_evaluation_queries_of_any_type_of_text(tmp_path: Path, kind: pa.DataType) -> None:
    ids = pa.array([7, 8], pa.int16())
    table = pa.table({"qid": ids, "query": pa.array(["zip files", None]).cast(kind)})
    assert queries(tmp_path / "q.parquet", table) == [("7", "zip files")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"title": ["x"]}, "columns found: title"),
        ({"query": [1]}, "'query' holds int64, expected text"),
        ({"query": [["a"]]}, "'query' holds list"),
        ({"query": ["a"], "qid": [1.0]}, "'qid' holds double; ids must be"),
        ({"query": [b"\xff"]}, "row 0: column 'query' holds what is not UTF-8"),
        ({"query": pa.nulls(1)}, "no evaluation query found"),
        ({"query": pa.array([], pa.float64())}, "no evaluation query found"),
    ],
)
def test_evaluation_queries_that_are_none(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputContractError, match=rf"q\.parquet.*{message}"):
        queries(tmp_path / "q.parquet", pa.table(columns))


def texts(folder: Path, wanted: set[str], *tables: pa.Table) -> dict[str, str]:
    folder.mkdir()
    for place, table in enumerate(tables):
        pq.write_table(table, folder / f"{place}.parquet")
    given = given_of(positives=with_corpus(folder))
    return find_texts(given.corpus, wanted)


def test_a_corpus_in_any_type(tmp_path: Path) -> None:
    ids = [uuid.UUID(int=place) for place in range(2)]
    found = texts(
        tmp_path / "corpus",
        {"1", "2", "3", "4", "5", str(ids[1])},
        pa.table({"doc_id": [1, 2], "text": pa.array([b"one", b"\xff"])}),
        pa.table({"docid": [b"3", b"\xff"], "title": ["t", "t"],
                  "contents": pa.array(["three", "x"]).dictionary_encode()}),
        pa.table({"doc_id": pa.array(["4", "4"], pa.string_view()), "text": ["four", "again"]}),
        pa.table({"doc_id": pa.array([i.bytes for i in ids], pa.uuid()), "text": ["a", "b"]}),
        pa.table({"doc_id": pa.nulls(0), "text": pa.array([], pa.float64())}),
    )  # fmt: skip
    assert found == {"1": "one", "3": "t three", "4": "four", str(ids[1]): "b"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"doc_id": ["1"]}, "positives.corpus needs a column 'text'"),
        ({"doc_id": ["1"], "text": [1]}, "'text' holds int64, expected text"),
        ({"doc_id": ["1"], "text": ["x"], "title": [["x"]]}, "'title' holds list"),
        ({"doc_id": [1.0], "text": ["x"]}, "'doc_id' holds double; ids must be"),
    ],
)
def test_a_corpus_that_is_none(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(InputContractError, match=rf"0\.parquet.*{message}"):
        texts(tmp_path / "corpus", {"1"}, pa.table(columns))


def test_no_pickle_of_a_corpus_or_evaluation_file_is_read(tmp_path: Path) -> None:
    data = pa.array([hostile.payload(tmp_path / "marker")], pa.large_binary())
    for name in ("doc_id", "text", "title", "query"):
        fields = {"doc_id": pa.array(["1"]), "text": pa.array(["x"])} | {name: data}
        schema = [
            hostile.declared(name, data.type) if key == name else pa.field(key, one.type)
            for key, one in fields.items()
        ]
        path = tmp_path / f"{name}.parquet"
        hostile.write_declared(path, pa.table(list(fields.values()), pa.schema(schema)))
        with pytest.raises(InputContractError, match=f"column '{name}' is of the extension"):
            if name == "query":
                given = given_of(decontaminate={"queries": [str(path)]})
                evaluation_queries_of(given, str(path))
            else:
                find_texts(given_of(positives=with_corpus(path)).corpus, {"1"})
    assert not (tmp_path / "marker").exists()


def test_what_is_read_is_what_the_set_is_named_by(tmp_path: Path) -> None:
    path, corpus = tmp_path / "q.tsv", tmp_path / "c.parquet"
    path.write_text("1\tzip files\n")
    pq.write_table(pa.table({"doc_id": ["1"], "text": ["old"]}), corpus)
    given = given_of(decontaminate={"queries": [str(path)]}, positives=with_corpus(corpus))
    path.write_text("1\tzap files\n")
    pq.write_table(pa.table({"doc_id": ["1"], "text": ["new"]}), corpus)
    with pytest.raises(InputContractError, match=r"q\.tsv: changed while the set was made"):
        given.read(str(path))
    with pytest.raises(InputContractError, match=r"c\.parquet: .*changed"):
        find_texts(given.corpus, {"1"})
    path.unlink()
    with pytest.raises(NotFoundError):
        given_of(decontaminate={"queries": [str(path)]})
