"""Whatever a collection is stored as, one command ranks it, and its rows are the same ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.candidates.reading import read_lists
from pipeline.config import JobConfig
from pipeline.distillation.teacher_runs import open_source, open_teacher
from pipeline.errors import InputContractError
from pipeline.execution import staged_input
from pipeline.execution.outcome import Outcome
from pipeline.execution.preparation import Prepared, prepare, prepare_again
from pipeline.execution.run import execute
from pipeline.execution.runs.garbage import collect, find_garbage
from pipeline.execution.runs.run_folder import RunFolder
from tests.makers import nested_table, write
from tests.staging.layouts import (
    LAYOUTS,
    SMALL,
    Collection,
    beir,
    collection,
    corpus_table,
    published,
    ranked_rows,
    references,
    scattered_long,
    sorted_long,
    text,
    trec,
)

#: Beside the checkout, where there are published collections.
PUBLISHED = Path(__file__).resolve().parents[3] / "shared/data/cranfield/candidates.parquet"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_input, "SIZES", SMALL)


def job(folder: Path, given: dict[str, Any], **sections: Any) -> JobConfig:
    config = {
        "model": {"name": "lexical"},
        "input": given,
        "output": {"path": str(folder / "out")},
        "units": {"documents": 40},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
        "quarantine": {"max_error_rate": 1.0, "max_unit_error_rate": 1.0},
    }
    return JobConfig.model_validate(config | sections)


def ran(folder: Path, given: dict[str, Any], **sections: Any) -> tuple[Prepared, Outcome]:
    prepared = prepare(job(folder, given, **sections))
    return prepared, execute(prepared)


def files_of(prepared: Prepared) -> list[Path]:
    assert prepared.staged is not None
    return sorted(Path(prepared.staged.folder.path).glob("*.parquet"))


def quarantined(outcome: Outcome) -> list[dict[str, Any]]:
    paths = sorted(Path(outcome.folder, "quarantine").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("broadcast_mib", [100, 0])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.usefixtures("believed_store")
def test_every_layout_gives_the_same_rows(
    small: bool, broadcast_mib: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(staged_input, "SIZES", SMALL)
    strategies, tables = {}, {}
    for name, layout in LAYOUTS.items():
        given = layout(tmp_path / name, collection()) | {"broadcast_mib": broadcast_mib}
        prepared, outcome = ran(tmp_path / name, given)
        tables[name] = ranked_rows(outcome.folder)
        staged = prepared.staged
        strategies[name] = None if staged is None else staged.described()["strategy"]
    for name, table in tables.items():
        assert table.equals(tables["sorted"]), name
    referred = "shuffle" if broadcast_mib == 0 else "broadcast"
    assert strategies == {
        "sorted": None,
        "nested": None,
        "scattered": "shuffle" if small else "in_memory",
        **dict.fromkeys(
            ("references", "lance", "trec", "beir"), referred if small else "in_memory"
        ),
    }


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"{PUBLISHED} is not here")
@pytest.mark.usefixtures("believed_store")
def test_a_published_collection_is_ranked_alike_in_every_layout(tmp_path: Path) -> None:
    given = published(PUBLISHED, queries=40)
    tables = {}
    for name, layout in LAYOUTS.items():
        _, outcome = ran(tmp_path / name, layout(tmp_path / name, given))
        tables[name] = ranked_rows(outcome.folder)
    assert tables["sorted"].num_rows == sum(map(len, given.lists.values()))
    for name, table in tables.items():
        assert table.equals(tables["sorted"]), name


@pytest.mark.parametrize("layout", [scattered_long, trec])
@pytest.mark.usefixtures("believed_store", "small_parts")
def test_a_copy_is_made_once_and_the_same_again(layout: Any, tmp_path: Path) -> None:
    given = layout(tmp_path, collection())
    prepared, _ = ran(tmp_path, given)
    assert prepared.staged is not None
    assert prepared.staged.seconds > 0
    files = files_of(prepared)
    assert len(files) > 1
    first = {file.name: file.read_bytes() for file in files}
    again, outcome = ran(tmp_path, given)
    assert outcome.already_finished
    assert again.staged is not None
    assert again.staged.seconds == 0
    shutil.rmtree(prepared.staged.folder.path)
    anew, outcome = ran(tmp_path, given)
    assert outcome.already_finished
    assert {file.name: file.read_bytes() for file in files_of(anew)} == first


@pytest.mark.usefixtures("believed_store", "small_parts")
def test_parts_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    prepared, _ = ran(tmp_path, trec(tmp_path, collection()))
    assert prepared.staged is not None
    folder = Path(prepared.staged.folder.path)
    (folder / "manifest.json").unlink()
    first, *rest = files_of(prepared)
    first.with_suffix(".json").unlink()
    before = {file: file.stat().st_ino for file in rest}
    again = prepare(job(tmp_path, trec(tmp_path, collection())))
    assert again.plan == prepared.plan
    assert {file: file.stat().st_ino for file in rest} == before


@pytest.mark.parametrize("how", ["byte", "cut", "gone"])
@pytest.mark.usefixtures("believed_store", "small_parts")
def test_a_damaged_part_is_named_and_made_anew(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = trec(tmp_path, collection())
    prepared, _ = ran(tmp_path, given)
    part = files_of(prepared)[1]
    whole = part.read_bytes()
    if how == "gone":
        part.unlink()
    else:
        data = bytearray(whole)
        data[100] ^= 1
        part.write_bytes(data if how == "byte" else whole[:-30])
    monkeypatch.setattr("pipeline.staging.copy_folder.logger.propagate", True)
    again, outcome = ran(tmp_path, given)
    assert outcome.already_finished
    assert again.plan == prepared.plan
    assert part.read_bytes() == whole
    assert any(part.name in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("believed_store")
def test_a_changed_source_makes_another_copy_and_refuses_to_resume(tmp_path: Path) -> None:
    given = trec(tmp_path, collection())
    prepared, outcome = ran(tmp_path, given)
    corpus = Path(given["corpus"])
    corpus.write_text(corpus.read_text().replace("ray", "sun"))
    with pytest.raises(InputContractError, match=r"corpus\.tsv: has changed since this run"):
        prepare_again(RunFolder(outcome.folder))
    other, _ = ran(tmp_path, given)
    assert other.staged is not None
    assert prepared.staged is not None
    assert other.staged.folder != prepared.staged.folder
    assert other.plan.run_id != prepared.plan.run_id


@pytest.mark.usefixtures("believed_store")
def test_a_moved_output_is_resumed_with_its_copy(tmp_path: Path) -> None:
    given = trec(tmp_path, collection())
    prepared, outcome = ran(tmp_path, given)
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = outcome.folder.replace("/out/", "/moved/")
    again = prepare_again(RunFolder(moved))
    assert again.plan == prepared.plan
    assert again.staged is not None
    assert again.staged.seconds == 0
    assert execute(again).already_finished


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.usefixtures("believed_store")
def test_what_is_missing_or_malformed_is_quarantined_by_name(
    small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(staged_input, "SIZES", SMALL)
    whole = collection()
    gone_document, gone_query = sorted(whole.corpus)[3], sorted(whole.queries)[2]
    given = trec(tmp_path, whole)
    for name, wanted in (("corpus", gone_document), ("queries", gone_query)):
        path = Path(given[name])
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith(f"{wanted}\t")))
    run = Path(given["path"])
    lines = run.read_text().splitlines(keepends=True)
    run.write_text("".join([*lines[:4], "no run line\n", *lines[4:]]))
    _, outcome = ran(tmp_path, given)
    rows = quarantined(outcome)
    missing = [row for row in rows if row["reason"] == "missing_document"]
    assert {row["doc_id"] for row in missing} == {gone_document}
    assert f"input.corpus has no doc_id '{gone_document}'" in missing[0]["message"]
    unasked = [row for row in rows if row["reason"] == "missing_query"]
    assert {row["query_id"] for row in unasked} == {gone_query}
    assert len(unasked) == len(whole.lists[gone_query])
    assert f"input.queries has no query_id '{gone_query}'" in unasked[0]["message"]
    [malformed] = [row for row in rows if row["reason"] == "malformed_line"]
    assert "run.trec" in malformed["message"]
    assert outcome.manifest["documents"] == len(lines) + 1


@pytest.mark.usefixtures("believed_store")
def test_ids_of_numbers_meet_their_text_and_are_written_as_given(tmp_path: Path) -> None:
    large = 2**53 + 1
    rows = pa.table({"query_id": [1, 1], "doc_id": [7, large]})
    given = {
        "path": str(write(tmp_path / "in.parquet", rows)),
        "corpus": str(text(tmp_path / "corpus.tsv", ["7\tray data", f"{large}\tunits", "007\tno"])),
        "queries": str(text(tmp_path / "queries.tsv", ["1\tray data"])),
    }
    _, outcome = ran(tmp_path, given)
    table = ranked_rows(outcome.folder)
    assert table.schema.field("doc_id").type == pa.int64()
    assert table.column("doc_id").to_pylist() == [7, large]
    assert outcome.manifest["quarantined"] == 0


@pytest.mark.usefixtures("believed_store")
def test_a_document_with_two_contents_stops_the_run(tmp_path: Path) -> None:
    given = trec(tmp_path, collection())
    with Path(given["corpus"]).open("a") as file:
        file.write("d0003\tsomething else\n")
    with pytest.raises(InputContractError, match="id 'd0003' stands twice with different contents"):
        prepare(job(tmp_path, given))


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.usefixtures("believed_store")
def test_scattered_queries_are_refused_where_they_are_not_allowed(
    small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr(staged_input, "SIZES", SMALL)
    given = trec(tmp_path, collection())
    run = Path(given["path"])
    lines = run.read_text().splitlines(keepends=True)
    run.write_text("".join([*lines[1:], lines[0]]))
    with pytest.raises(InputContractError, match="query_id 'q0000' stands in two separate places"):
        prepare(job(tmp_path, given | {"order": "grouped"}))


@pytest.mark.usefixtures("believed_store")
def test_a_filter_leaves_other_rows_out(tmp_path: Path) -> None:
    given = sorted_long(tmp_path, collection()) | {"filter": [["first_stage_rank", "<=", 3]]}
    prepared, outcome = ran(tmp_path, given)
    assert prepared.staged is not None
    table = ranked_rows(outcome.folder)
    assert table.num_rows == 3 * 20
    assert set(table.column("first_stage_rank").to_pylist()) == {1, 2, 3}


@pytest.mark.usefixtures("believed_store")
def test_queries_without_candidates_are_counted_as_in_a_nested_input(tmp_path: Path) -> None:
    lists = nested_table(collection(queries=4).long())
    empty = lists.slice(0, 1).set_column(0, "query_id", pa.array(["none"]))
    kind = lists.schema.field("candidates").type
    bare = empty.set_column(2, "candidates", pa.array([[]], kind))
    path = write(tmp_path / "in.parquet", pa.concat_tables([lists, bare]))
    _, plain = ran(tmp_path / "plain", {"path": str(path)})
    _, staged = ran(tmp_path / "staged", {"path": str(path), "order": "scattered"})
    for key in ("queries", "documents", "quarantined", "reasons"):
        assert staged.manifest[key] == plain.manifest[key]
    assert staged.manifest["reasons"] == {"no_candidates": 1}


@pytest.mark.usefixtures("believed_store")
def test_columns_and_texts_of_the_users_names_reach_the_copy(tmp_path: Path) -> None:
    whole = collection()
    documents = corpus_table(whole).append_column("lang", pa.array(["en"] * len(whole.corpus)))
    given = references(tmp_path, whole) | {"text_columns": ["text"]}
    write(Path(given["corpus"]), documents)
    prepared, outcome = ran(
        tmp_path, given, output={"path": str(tmp_path / "out"), "columns": ["title", "lang"]}
    )
    table = ranked_rows(outcome.folder)
    titles = {doc_id: title for doc_id, (title, _) in whole.corpus.items()}
    wanted = [titles[doc_id] for doc_id in table.column("doc_id").to_pylist()]
    assert table.column("title").to_pylist() == wanted
    assert set(table.column("lang").to_pylist()) == {"en"}
    [column] = prepared.source.columns.text
    assert column == "text"


@pytest.mark.usefixtures("believed_store")
def test_what_is_known_of_a_copy_is_in_the_run(tmp_path: Path) -> None:
    given = beir(tmp_path, collection())
    prepared, outcome = ran(tmp_path, given)
    folder = RunFolder(outcome.folder)
    described = folder.describe()["staging"]
    assert prepared.staged is not None
    assert described["folder"] == prepared.staged.folder.path
    assert [source["role"] for source in described["sources"]] == [
        "candidates",
        "corpus",
        "queries",
    ]
    named = [Path(file["path"]).name for source in described["sources"] for file in source["files"]]
    assert named == ["run.trec", "corpus.jsonl", "queries.jsonl"]
    report = json.loads(Path(outcome.folder, "report.json").read_text())["staging"]
    assert report["rows"] == prepared.source.rows
    assert report["bytes"] == sum(file.stat().st_size for file in files_of(prepared))


@pytest.mark.usefixtures("believed_store")
def test_gc_removes_copies_that_no_run_names(tmp_path: Path) -> None:
    given = trec(tmp_path, collection())
    kept, _ = ran(tmp_path, given)
    left = prepare(job(tmp_path, scattered_long(tmp_path, collection())))
    assert kept.staged is not None
    assert left.staged is not None
    output = str(tmp_path / "out")
    assert find_garbage(output, older_than_h=1.0, probe_s=0.0) == []
    found = find_garbage(output, older_than_h=0.0, probe_s=0.0)
    assert [item.path for item in found] == [left.staged.folder.path]
    collect(found)
    assert list(Path(left.staged.folder.path).iterdir()) == []
    assert files_of(kept)


def test_nothing_is_written_where_no_copy_may_be_made(tmp_path: Path) -> None:
    with pytest.raises(staged_input.NotStagedError):
        prepare(job(tmp_path, trec(tmp_path, collection())), stage=False)
    assert not (tmp_path / "out").exists()


def test_a_collection_of_nothing_is_refused_or_published(tmp_path: Path) -> None:
    given = sorted_long(tmp_path, Collection({"q": "x"}, {"d": ("t", "x")}, {"q": [("d", 1.0)]}))
    none = given | {"filter": [["doc_id", "==", "other"]]}
    with pytest.raises(InputContractError, match="no rows in 1 file"):
        prepare(job(tmp_path, none))
    assert prepare(job(tmp_path, none | {"allow_empty": True})).source.rows == 0


@pytest.mark.usefixtures("believed_store")
def test_a_teacher_shows_the_texts_of_its_copy(tmp_path: Path) -> None:
    whole = collection()
    _, outcome = ran(tmp_path, trec(tmp_path, whole))
    config, source = open_source(open_teacher(outcome.folder))
    lists = read_lists(source, 0, source.rows, separator=config.text_separator)
    texts = dict(
        zip(*(lists.documents.column(n).to_pylist() for n in ("doc_id", "text")), strict=True)
    )
    assert texts == {doc_id: " ".join(whole.corpus[doc_id]) for doc_id in texts}
