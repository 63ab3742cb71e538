"""``rerank doctor`` as people and scripts call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from tests.makers import long_table, write
from tests.support.driver import Card, Driver

SUBJECTS = {"python", "machine", "torch", "driver", "ray", "disk", "store", "weights"}


def doctor(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", *map(str, words)], terminal_width=80)
    return done.exit_code, done.output


def test_a_job_whose_machine_and_model_are_looked_at(tmp_path: Path) -> None:
    job = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(tmp_path / "in.parquet", long_table()))},
        "output": {"path": str(tmp_path / "out")},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    code, output = doctor("-c", tmp_path / "job.yaml", "--json")
    told = json.loads(output)
    of = {finding["subject"]: finding for finding in told["findings"]}
    assert of.keys() >= SUBJECTS | {"input", "clock"}
    assert {of[name]["state"] for name in ("python", "input", "store", "clock", "weights")} == {
        "ok"
    }
    problems = [one for one in told["findings"] if one["state"] == "problem"]
    assert (told["sound"], code) == ((False, 4) if problems else (True, 0))
    assert all(one["to_do"] for one in told["findings"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "job.yaml"]


def test_what_is_wrong_is_said_line_by_line_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Driver([Card()], version="470.256.02").install(monkeypatch)
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RERANK_CACHE"):
        monkeypatch.delenv(name, raising=False)
    code, output = doctor("--model", tmp_path / "none")
    assert code == 4
    plain = " ".join(output.split())
    for said in (
        "problem torch",
        "problem ray " + str(tmp_path / "home"),
        "to do: set RAY_AUTH_TOKEN_PATH to a file of yours",
        "note disk " + str(tmp_path / "home"),
        "skipped store not looked at: no output was named",
        "problem weights model.weights: no folder at",
        "solve the problems first",
    ):
        assert said.replace(" ", "") in plain.replace(" ", ""), (said, output)


def test_a_setting_that_is_wrong_is_a_matter_of_configuration() -> None:
    assert doctor("-c", "absent.yaml")[0] == 2
    assert doctor("--set", "model.nam=lexical")[0] == 2
