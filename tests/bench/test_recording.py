"""A bench's rate, noted for plans: of a model with weights of its own, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.networks.flops import shape_of
from pipeline.pricing.rates import load_rates


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RERANK_RATES", raising=False)


def bench(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["bench", "--device", "cpu", *map(str, words)])
    return found.exit_code, found.output


def test_a_model_with_its_own_weights_is_measured_and_its_rate_noted(goldens: Path) -> None:
    model = goldens / "ms-marco-minilm-tiny"
    code, said = bench("--model", model, "--record", "--rounds", 1, "--json", "found.json")
    assert code == 0, said
    assert "own weights" in said
    assert "rerank-rates.yaml" in said
    [rate] = [known.rate for known in load_rates() if known.own]
    found = json.loads(Path("found.json").read_text())
    assert rate.network == shape_of(json.loads((model / "config.json").read_text()))
    assert rate.documents_per_s == pytest.approx(found["engine"]["documents_per_s"], rel=0.01)
    assert rate.device == found["machine"]["cpu"]
    assert len(rate.digest) == 64
    assert found["workload"]["tokens"] / 200 <= rate.mean_length <= 512
    assert found["model"]["weights"] == "own"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shape", "tiny", "--record"], "--record: a tiny network says nothing about speed"),
        (["--workload", "page768", "--record"], "--record: the workload page768 has pages"),
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "lexical"], "has no network that reads texts"),
        (["--model", "jina-m0"], "does not suit the workload"),
    ],
)
def test_what_tells_nothing_is_refused_before_it_is_measured(words: list[str], said: str) -> None:
    code, output = bench(*words)
    assert code == 2
    assert said in output
    assert not Path("rerank-rates.yaml").exists()
