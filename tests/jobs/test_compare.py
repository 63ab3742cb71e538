"""`rerank compare`: a table, the same as JSON, and files; models in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from tests.makers import long_table, write

QUERIES = 20


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 queries, the first 15 judged, and one that the input has not."""
    folder = tmp_path_factory.mktemp("collection")
    table = long_table(queries=QUERIES, documents=14)
    write(folder / "in.parquet", table, row_group_size=9)
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    grades = [f"q{q:03d}\t0\td{d}\t{(q + d) % 3}\n" for q in range(15) for d in range(2)]
    (folder / "qrels.tsv").write_text("".join(grades) + "q999 0 d0 1\n")
    return folder


@pytest.fixture(scope="module")
def tiny(goldens: Path) -> str:
    return str(goldens / "ms-marco-minilm-tiny")


def rerank(folder: Path, *words: object) -> Result:
    given = ["--set", f"output.path={folder / 'out'}", "--set", "ray.mode=in_process"]
    return CliRunner().invoke(app, [*map(str, words), *given], env={"COLUMNS": "160"})


def compare(folder: Path, *words: object, source: str = "in.parquet") -> Result:
    return rerank(folder, "compare", *words, "--set", f"input.path={folder / source}")


def told(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def report(collection: Path, tiny: str) -> dict[str, Any]:
    """Of a tiny cross-encoder, the same cut at eight tokens, and the family without weights."""
    models = ["--model", tiny, "--model", f"{tiny},max_length=8", "--model", "lexical"]
    judged = ["--qrels", collection / "qrels.tsv", "--to", collection / "found"]
    return told(compare(collection, *models, *judged, "--json"))


def test_every_model_is_measured_on_the_judged_queries(report: dict[str, Any], tiny: str) -> None:
    sample = report["input"]
    assert (sample["queries"], sample["sampled_queries"]) == (QUERIES, 15)
    assert (sample["unjudged_queries"], sample["absent_queries"]) == (5, 1)
    names = [tiny, f"{tiny},max_length=8", "lexical"]
    assert [model["name"] for model in report["models"]] == names
    whole, cut, lexical = report["models"]
    assert (whole["cut"], lexical["cut"]) == (0, None)
    assert cut["cut"] > 0
    assert cut["speed"]["tokens_per_document"] < whole["speed"]["tokens_per_document"]
    for model in report["models"]:
        assert model["documents"] == sample["documents"]
        assert model["not_scored"] == {}
        assert model["speed"]["least"] <= model["speed"]["documents_per_s"]
        assert model["speed"]["documents_per_s"] <= model["speed"]["most"]
    assert whole["speed"]["times_the_first"] == 1
    assert len(report["pairs"]) == 6  # of four orders
    for pair in report["pairs"]:
        for found in pair["measures"].values():
            assert found["p_holm"] >= found["p_randomization"]


def test_warnings_say_what_the_figures_are_worth(report: dict[str, Any]) -> None:
    text = "\n".join(report["warnings"])
    assert "only 15 judged queries" in text
    assert "5 queries of the input are not judged" in text
    assert "1 judged query is not among those of the input" in text
    assert "max_length=8: " in text
    assert "documents were cut to fit" in text
    assert "its speed is of" in text


def test_figures_are_those_of_runs_that_are_evaluated(
    report: dict[str, Any], collection: Path, tiny: str, tmp_path: Path
) -> None:
    qrels = tmp_path / "qrels.tsv"
    lines = (collection / "qrels.tsv").read_text().splitlines(keepends=True)
    qrels.write_text("".join(line for line in lines if not line.startswith("q999")))
    source = ["--set", f"input.path={collection / 'in.parquet'}"]
    for name, model in (("lexical", report["models"][2]), (tiny, report["models"][0])):
        folder = tmp_path / model["model"]["family"]
        done = rerank(folder, "run", *source, "--set", f"model.name={name}")
        assert done.exit_code == 0, done.output
        evaluated = CliRunner().invoke(
            app, ["evaluate", str(folder / "out"), "--qrels", str(qrels), "--json"]
        )
        first, ranked = told(evaluated)["evaluations"]
        for measure in ("nDCG@10", "RR@10"):
            found = model["measures"][measure]["mean"]
            assert found == pytest.approx(ranked["means"][measure], abs=1e-9)
            before = report["first_stage"]["measures"][measure]["mean"]
            assert before == pytest.approx(first["means"][measure], abs=1e-9)
            beside = model["beside_baseline"][measure]["difference"]
            assert beside == pytest.approx(found - before, abs=1e-9)
    qrels.write_text("q001 0 D1 1.0\n")
    refused = CliRunner().invoke(app, ["evaluate", str(folder / "out"), "--qrels", str(qrels)])
    assert refused.exit_code == 3
    assert "such as 'D1'), found such as 'd0'" in refused.stderr


def test_the_files_are_the_report_and_the_plot(report: dict[str, Any], collection: Path) -> None:
    written = json.loads((collection / "found" / "compare.json").read_text())
    assert written == report
    assert (collection / "found" / "quality-speed.png").read_bytes().startswith(b"\x89PNG")
    drawn = (collection / "found" / "quality-speed.svg").read_text()
    assert ">lexical 0." in drawn
    assert "nDCG@10, 15 queries" in drawn


def test_the_order_of_models_and_the_format_of_the_input_do_not_matter(
    report: dict[str, Any], collection: Path, tiny: str
) -> None:
    """A text format is read through its staged copy, as a run reads it."""
    models = ["--model", "lexical", "--model", tiny, "--baseline", tiny]
    done = compare(
        collection, *models, "--qrels", collection / "qrels.tsv", "--json", source="in.jsonl"
    )
    found = told(done)
    lexical, other = found["models"]
    assert other["measures"] == report["models"][0]["measures"]
    assert lexical["measures"] == report["models"][2]["measures"]
    assert other["beside_baseline"] == {}
    before = found["first_stage"]["beside_baseline"]["nDCG@10"]
    turned = report["models"][0]["beside_baseline"]["nDCG@10"]
    assert before["difference"] == pytest.approx(-turned["difference"])
    assert before["interval"] == pytest.approx([-end for end in reversed(turned["interval"])])
    assert (before["wins"], before["losses"]) == (turned["losses"], turned["wins"])


def test_without_judgements_it_is_speed_and_likeness(collection: Path) -> None:
    done = compare(collection, "--model", "lexical", "--sample", "4", "--seed", "1")
    assert done.exit_code == 0, done.output
    assert "4 of 20 queries (seed 1)" in done.stdout
    assert "No --qrels" in done.stdout
    assert "nDCG" not in done.stdout
    assert "overlap" in done.stdout


def test_a_single_query_has_no_intervals(collection: Path) -> None:
    judged = ["--qrels", collection / "qrels.tsv", "--to", collection / "one"]
    found = told(compare(collection, "--model", "lexical", "--sample", "1", *judged, "--json"))
    [pair] = found["pairs"]
    assert pair["measures"]["nDCG@10"]["interval"] is None
    assert pair["measures"]["nDCG@10"]["p_holm"] is None
    assert (collection / "one" / "quality-speed.svg").exists()


def test_a_table_for_people(collection: Path) -> None:
    judged = ["--qrels", collection / "qrels.tsv", "--measure", "P@3"]
    done = compare(collection, "--model", "lexical", *judged, "--sample", "5")
    assert done.exit_code == 0, done.output
    assert "Quality, and the difference to first_stage" in done.stdout
    assert "P@3" in done.stdout
    assert "Speed is of this machine (CPU: " in done.stdout
    assert "Note: only 5 judged queries" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--model: name at least one"),
        (["--model", "lexical", "--measure", "RR"], 2, "--measure and --baseline need --qrels"),
        (["--model", "lexicall"], 2, "--model lexicall: model.name: no model card 'lexicall'"),
        (["--model", "lexical", "--set", "refresh={}"], 2, "has a section 'refresh'"),
        (["--model", "lexical,depth=3"], 2, "--model lexical,depth=3: unknown key"),
        (["--model", "lexical", "--set", "model.sha256=0"], 2, "write --model NAME,KEY=VALUE"),
        (["--model", "lexical", "--qrels", "Q", "--baseline", "bm25"], 2, "expected first_stage"),
        (["--model", "lexical", "--qrels", "Q", "--measure", "F1"], 2, "measure 'F1' is unknown"),
        (["--model", "lexical", "--qrels", "OTHER_QUERIES"], 3, "its queries (20) is judged"),
        (["--model", "lexical", "--qrels", "OTHER_DOCUMENTS"], 3, "such as 'D1'), found such as"),
        (["--model", "lexical", "--set", "input.path=nowhere"], 4, "nowhere: no file found"),
    ],
)
def test_what_is_wrong_is_said(
    collection: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    (tmp_path / "queries.tsv").write_text("1 0 d1 1\n")
    (tmp_path / "documents.tsv").write_text("q001 0 D1 1\n")
    files = {
        "Q": collection / "qrels.tsv",
        "OTHER_QUERIES": tmp_path / "queries.tsv",
        "OTHER_DOCUMENTS": tmp_path / "documents.tsv",
    }
    source = [] if "input.path=nowhere" in words else [f"input.path={collection / 'in.parquet'}"]
    given = [str(files.get(word, word)) for word in words]
    done = rerank(collection, "compare", *given, *(w for s in source for w in ("--set", s)))
    assert done.exit_code == code, done.output
    assert message in done.stderr.replace("\n", " ")
