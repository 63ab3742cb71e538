"""`rerank plan` as people type it: what it prints, what it warns of, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from tests.makers import long_table, write


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("RERANK_PRICES", "RERANK_RATES"):
        monkeypatch.delenv(name, raising=False)


def rerank(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def job_file(
    folder: Path, model: object, table: pa.Table | None = None, **sections: object
) -> Path:
    source = write(folder / "in.parquet", long_table(40, 8) if table is None else table)
    job = {
        "model": {"name": str(model)},
        "input": {"path": str(source)},
        "output": {"path": str(folder / "out")},
        "units": {"documents": 12},
        "ray": {"mode": "in_process"},
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def test_it_says_tokens_time_and_money_within_80_columns(goldens: Path, tmp_path: Path) -> None:
    job = job_file(tmp_path, goldens / "ms-marco-minilm-tiny")
    said = rerank("plan", "-c", job, "--gpu-rate", "L4=5", "--gpus", 3, "--sample", 60)
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    shown = [line for line in lines if not line.startswith(("run ", "model ", "rate ", "prices "))]
    assert max(map(len, shown)) <= 80
    headings = [line.split()[0] for line in lines if line and line[0] != " "]
    assert {"tokens", "lengths", "output", "device", "rate", "prices", "unit"} <= set(headings)
    [tokens] = [line for line in lines if line.startswith("tokens")]
    assert "±" in tokens
    assert "95% interval of a sample of" in said.stdout
    [row] = [line for line in lines if line.startswith("L4")]
    assert "3 GPUs" in row
    assert "more, 0 of" in said.stdout
    assert "to do" in rerank("plan", "-c", job, "--units").stdout


def test_json_has_everything(goldens: Path, tmp_path: Path) -> None:
    job = job_file(tmp_path, goldens / "ms-marco-minilm-tiny")
    facts = json.loads(rerank("plan", "-c", job, "--json", "--gpu-rate", "H100=100").stdout)
    forecast = facts["forecast"]
    assert len(facts["units"]) == forecast["units"]
    assert forecast["currency"] == "USD"
    given = [one for one in forecast["devices"] if one["basis"] == "given"]
    [h100] = given
    hours = forecast["documents"] / 100 / 3600
    assert h100["cost"] == [pytest.approx(h100["hours"][0] * 1.5, rel=1e-6),
                            pytest.approx(h100["hours"][1] * 7.0, rel=1e-6)]  # fmt: skip
    assert h100["hours"][0] >= hours
    assert {one["kind"] for one in forecast["devices"] if one["basis"] == "guess"} == {
        "cpu", "cuda",
    }  # fmt: skip


def test_units_that_are_there_are_not_paid_again(goldens: Path, tmp_path: Path) -> None:
    job = job_file(tmp_path, goldens / "ms-marco-minilm-tiny")
    assert rerank("run", "-c", job).exit_code == 0
    forecast = json.loads(rerank("plan", "-c", job, "--json").stdout)["forecast"]
    assert forecast["documents_to_score"] == 0
    assert forecast["tokens_to_score"]["value"] == 0
    assert forecast["tokens"]["value"] > 0


def test_a_licence_that_forbids_it_is_said(goldens: Path, tmp_path: Path) -> None:
    card = {
        "name": "mine", "family": "cross_encoder", "weights": str(goldens / "ms-marco-minilm-tiny"),
        "score_scale": "logit", "licence": "CC-BY-NC-4.0",
    }  # fmt: skip
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    said = rerank("plan", "-c", job_file(tmp_path, tmp_path / "mine.yaml")).stdout
    assert "licence: CC-BY-NC-4.0 of mine does not allow commercial use" in said


def test_long_tails_and_cuts_are_said(goldens: Path, tmp_path: Path) -> None:
    table = long_table(40, 8)
    texts = ["word " * (600 if place % 150 == 0 else 2) for place in range(table.num_rows)]
    table = table.set_column(3, "text", pa.array(texts))
    said = rerank("plan", "-c", job_file(tmp_path, goldens / "ms-marco-minilm-tiny", table)).stdout
    assert "long tail: the longest 1 % of the sequences" in said


def test_an_earlier_run_says_which_order_was_better(tmp_path: Path) -> None:
    job = job_file(tmp_path, "lexical")
    (tmp_path / "qrels.tsv").write_text("".join(f"q{q:03d} 0 d0 1\n" for q in range(40)))
    words = ("plan", "-c", job, "--qrels", tmp_path / "qrels.tsv")
    assert "no run of this model lies in" in rerank(*words).stdout.replace("\n           ", " ")
    assert rerank("run", "-c", job).exit_code == 0
    order = json.loads(rerank(*words, "--json").stdout)["forecast"]["order"]
    assert order["queries"] == 40
    assert 0 <= order["reranked"] < order["first_stage"] <= 1
    assert "order: in" in rerank(*words).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu-rate", "L4"], "--gpu-rate 'L4': expected TYPE=DOCUMENTS_PER_S"),
        (["--qrels", "gone.tsv"], "gone.tsv"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, words: list[str], said: str) -> None:
    job = job_file(tmp_path, "lexical")
    if "--qrels" in words:
        assert rerank("run", "-c", job).exit_code == 0
    refused = rerank("plan", "-c", job, *words)
    assert refused.exit_code in (2, 4)
    assert said in refused.output


def test_a_wrong_price_file_is_refused_by_name(tmp_path: Path) -> None:
    Path("rerank-prices.yaml").write_text("currency: USD\ngpu_hours: {}\n")
    refused = rerank("plan", "-c", job_file(tmp_path, "lexical"))
    assert refused.exit_code == 2
    assert "rerank-prices.yaml" in refused.output
    assert "gpu_hour" in refused.output
