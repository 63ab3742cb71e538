"""From judged lists to fused_score and calibrated_score, by the commands that users type."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.commands import app
from tests.makers import write

WORDS = ("tide", "harbour", "moon", "ferry", "lamp", "bread", "glass", "stone")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Candidates of 60 queries, of which the first stage and lexical overlap know a half each."""
    folder = tmp_path_factory.mktemp("judged")
    draw = np.random.default_rng(11)
    rows, judged = [], []
    for query in range(60):
        asked = draw.choice(WORDS, 4, replace=False)
        for doc in range(12):
            grade = int(doc < 3)
            common = int(np.clip(round(draw.normal(1 + 2 * grade, 1)), 0, 4))
            text = " ".join([*asked[:common], *draw.choice(["so", "and", "then"], 4)])
            first = None if doc == 11 else float(draw.normal(grade * 1.5))
            rows.append(
                {"query_id": f"q{query}", "query": " ".join(asked), "doc_id": f"d{doc}",
                 "text": text, "first_stage_score": first}
            )  # fmt: skip
            judged.append(f"q{query} 0 d{doc} {grade}")
    write(folder / "in.parquet", pa.Table.from_pylist(rows))
    (folder / "qrels").write_text("\n".join(judged))
    return folder


def call(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def run(folder: Path, name: str, **sets: str) -> pa.Table:
    given = {
        "model.name": "lexical", "input.path": folder / "in.parquet", "ray.mode": "in_process",
        "output.path": folder / name, "report.page": "false",
        **{key.replace("__", "."): v for key, v in sets.items()},
    }  # fmt: skip
    call("run", *(word for key, value in given.items() for word in ("--set", f"{key}={value}")))
    [latest] = (folder / name).glob("*/ranked")
    table = pq.ParquetDataset(str(latest)).read()
    return table.sort_by([("query_id", "ascending"), ("rank", "ascending")])


@pytest.fixture(scope="module")
def plain(folder: Path) -> pa.Table:
    return run(folder, "plain")


def test_a_fusion_is_tuned_then_written_and_evaluated(folder: Path, plain: pa.Table) -> None:
    told = call("evaluate", folder / "plain", "--qrels", folder / "qrels", "--tune-fusion")
    [setting] = [line for line in told.splitlines() if line.startswith("output.fusion: ")]
    tuned = call(
        "evaluate", folder / "plain", "--qrels", folder / "qrels", "--tune-fusion", "--json"
    )
    found: dict[str, Any] = json.loads(tuned)
    first, reranked, fused = (one["means"]["nDCG@10"] for one in found["evaluations"])
    assert fused > max(first, reranked)

    table = run(folder, "fused", output__fusion=setting.removeprefix("output.fusion: "))
    assert table.column_names == [*plain.column_names, "fused_score", "fused_rank"]
    assert table.drop_columns(["fused_score", "fused_rank"]).equals(plain)
    for query in set(table["query_id"].to_pylist()):
        rows = [row for row in table.to_pylist() if row["query_id"] == query]
        by_rank = sorted(rows, key=lambda row: row["fused_rank"])
        assert [row["fused_rank"] for row in by_rank] == list(range(1, len(rows) + 1))
        scores = [row["fused_score"] for row in by_rank]
        assert scores == sorted(scores, reverse=True)
    about = {k: v for k, v in table.schema.metadata.items() if k == b"fusion"}
    assert json.loads(about[b"fusion"]) == found["fusion"]

    shown = call("evaluate", folder / "fused", "--qrels", folder / "qrels", "--changes", 0)
    assert "fused compared with reranked" in shown
    measured = json.loads(call("evaluate", folder / "fused", "--qrels", folder / "qrels", "--json"))
    values = {one["run"]: one["means"]["nDCG@10"] for one in measured["evaluations"]}
    assert values["fused"] > max(values["first stage"], values["reranked"])


def test_a_calibration_is_fitted_then_written_and_only_for_its_model(
    folder: Path, plain: pa.Table
) -> None:
    to = folder / "calibration.json"
    words = ("calibrate", folder / "plain", "--qrels", folder / "qrels", "--to", to)
    assert "less, the better" in " ".join(call(*words).split())
    found = json.loads(call(*words, "--method", "isotonic", "--json"))
    assert found["fitted_on"] + found["queries"] == 60
    quality = found["quality"]
    assert quality["calibrated"]["log_loss"] < quality["base rate"]["log_loss"]

    table = run(folder, "calibrated", output__calibration=str(to))
    assert table.drop_columns(["calibrated_score"]).equals(plain)
    points = np.array(found["calibration"]["points"]).T
    wanted = np.interp(plain["score"].to_numpy(), *points)
    np.testing.assert_allclose(table["calibrated_score"].to_numpy(), wanted, atol=1e-6)
    about = json.loads(table.schema.metadata[b"calibration"])
    assert about["method"] == "isotonic"

    other = (
        "plan", "--set", "model.name=all-minilm-l6-v2", "--set", f"input.path={folder}/in.parquet",
        "--set", f"output.path={folder}/other", "--set", f"output.calibration={to}",
    )  # fmt: skip
    assert "scores of another model" in " ".join(call(*other, code=2).split())


def test_a_resumed_run_keeps_its_calibration(folder: Path, plain: pa.Table) -> None:
    to = folder / "kept.json"
    words = ("calibrate", folder / "plain", "--qrels", folder / "qrels", "--to", to)
    call(*words)
    run(folder, "kept", output__calibration=str(to))
    [done] = [path for path in (folder / "kept").iterdir() if (path / "run.json").exists()]
    call("resume", done)
    call(*words, "--method", "isotonic")
    refused = call("resume", done, code=2)
    assert "the file of output.calibration" in " ".join(refused.split())


def test_judgements_of_relevant_documents_alone_need_a_word(folder: Path, plain: pa.Table) -> None:
    lines = (folder / "qrels").read_text().splitlines()
    (folder / "positives").write_text("\n".join(line for line in lines if line.endswith(" 1")))
    words = ("calibrate", folder / "plain", "--qrels", folder / "positives", "--to", folder / "c")
    assert "at least 10 of either" in " ".join(call(*words, code=3).split())
    assert not (folder / "c").exists()
    call(*words, "--unjudged", "irrelevant")


def test_a_trec_run_has_nothing_to_fuse(folder: Path) -> None:
    (folder / "one.trec").write_text("q1 Q0 d1 1 2.0 x\n")
    words = ("evaluate", folder / "one.trec", "--qrels", folder / "qrels", "--tune-fusion")
    assert "one order and one score" in " ".join(call(*words, code=2).split())
