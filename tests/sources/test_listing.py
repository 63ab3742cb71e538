from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pipeline.config import InputConfig
from pipeline.errors import InputContractError
from pipeline.sources.listing import resolved
from pipeline.sources.source import open_source
from tests.support.source_rows import plain, rows_of, write

RUN = "q1 Q0 d1 1 2.5 x\n"


def collection(folder: Path, *, packed: bool = False) -> Path:
    """A BEIR collection without a run."""
    ending = ".gz" if packed else ""
    for name, line in (
        ("corpus", '{"_id": "d1", "title": "T", "text": "x"}\n'),
        ("queries", '{"_id": "q1", "text": "what"}\n'),
    ):
        data = gzip.compress(line.encode()) if packed else line
        write(folder / f"{name}.jsonl{ending}", data)
    write(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["run.trec", "run.bm25.tsv", "bm25.txt"])
def test_a_collection_is_its_run_with_its_corpus_and_queries(
    name: str, packed: bool, tmp_path: Path
) -> None:
    folder = collection(tmp_path / "beir", packed=packed)
    write(folder / name, "q1\td1\t1\n" if name.endswith(".tsv") else RUN)
    config = resolved(InputConfig(path=(str(folder),)))
    assert config.path == (str(folder / name),)
    assert config.corpus is not None
    assert config.queries is not None
    assert plain(rows_of("corpus", config.corpus)) == [{"doc_id": "d1", "title": "T", "text": "x"}]
    assert plain(rows_of("queries", config.queries)) == [{"query_id": "q1", "query": "what"}]
    assert rows_of("candidates", config.path)[0]["doc_id"] == "d1"


def test_a_corpus_that_is_a_collection_brings_its_queries(tmp_path: Path) -> None:
    folder = collection(tmp_path / "beir")
    run = write(tmp_path / "x.trec", RUN)
    given = InputConfig(path=(str(run),), corpus=(str(folder),))
    assert resolved(given).queries == (f"{folder}/queries.jsonl",)
    own = given.model_copy(update={"queries": ("mine.tsv",)})
    assert resolved(own) == own
    assert plain(rows_of("corpus", folder))[0]["doc_id"] == "d1"
    assert plain(rows_of("queries", folder))[0]["query_id"] == "q1"


def test_what_is_missing_in_a_collection_is_said(tmp_path: Path) -> None:
    folder = collection(tmp_path / "beir")
    with pytest.raises(InputContractError, match=r"no file in it is a run .*corpus\.jsonl") as told:
        resolved(InputConfig(path=(str(folder),)))
    assert f"--set input.path={folder}/run.trec --set input.corpus={folder}" in str(told.value)
    write(folder / "a.trec", RUN)
    write(folder / "run.b.tsv", "q1\td1\t1\n")
    with pytest.raises(InputContractError, match=r"2 files are runs: a\.trec, run\.b\.tsv"):
        resolved(InputConfig(path=(str(folder),)))
    (folder / "a.trec").unlink()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(InputContractError, match=r"without queries\.jsonl .*input\.queries=FILE"):
        resolved(InputConfig(path=(str(folder),)))
    with pytest.raises(InputContractError, match=r"stands among other paths"):
        resolved(InputConfig(path=(str(folder), "x")))


def test_folders_hold_files_of_known_endings_without_what_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "in [1] #"
    for name in ("b.tsv", "a.tsv.gz", "deep/c.tsv", ".hidden.tsv", "_log/d.tsv", "README.md",
                 "_SUCCESS"):  # fmt: skip
        data = f"{name}\tx\n".encode()
        write(folder / name, gzip.compress(data) if name.endswith(".gz") else data)
    assert [row["doc_id"] for row in rows_of("corpus", folder)] == ["a.tsv.gz", "b.tsv",
                                                                    "deep/c.tsv"]  # fmt: skip


def test_globs_and_links(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", "1\tx\n")
    write(tmp_path / "b.tsv", "2\tx\n")
    (tmp_path / "c.tsv").symlink_to(tmp_path / "a.tsv")
    assert [row["doc_id"] for row in rows_of("corpus", f"{tmp_path}/*.tsv")] == ["1", "2"]


def test_judgements_in_a_folder_are_no_candidates(tmp_path: Path) -> None:
    write(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq9\td9\t1\n")
    write(tmp_path / "qrels.tsv", "query-id\tcorpus-id\tscore\nq9\td9\t1\n")
    write(tmp_path / "list.tsv", "q1\td1\t1\n")
    assert [row["query_id"] for row in rows_of("candidates", tmp_path)] == ["q1"]


def test_an_empty_file_among_others_is_none(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", "")
    write(tmp_path / "b.tsv", "2\tx\n")
    config = InputConfig(path=("x",))
    source = open_source("corpus", [str(tmp_path)], config)
    assert [file.path for file in source.files] == [str(tmp_path / "b.tsv")]
