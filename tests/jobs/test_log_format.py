"""`--log-format json`: everything of ours on standard error is one object a line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from jobs.ending import told
from pipeline.cli import app
from pipeline.errors import ConfigurationError
from pipeline.execution.live.snapshot import Snapshot
from tests.execution.drivers import ROOT, lexical_job
from tests.makers import long_table, write


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = write(tmp_path / "in.parquet", long_table(queries=4))
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(lexical_job(path, str(tmp_path / "out"))))
    return file


def test_progress_and_how_it_ends_are_objects(job: Path) -> None:
    words = ["run", "-c", str(job), "--log-format", "json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = objects(done.stderr)
    assert all(list(item)[:3] == ["time", "level", "message"] for item in found)
    [last] = [item for item in found if "progress" in item][-1:]
    assert last["level"] == "INFO"
    shown = Snapshot.from_dict(last["progress"])
    assert (shown.units_done, shown.documents_scored) == (shown.units, shown.documents)
    refused = CliRunner().invoke(app, [*words, "--set", "model.nmae=x"])
    assert refused.exit_code == 2
    [error] = objects(refused.stderr)
    assert error["level"] == "ERROR"
    assert "nmae" in error["message"]


@pytest.mark.parametrize(
    ("words", "environment"),
    [(["--log-format=json"], None), (["--log-format", "text"], "json")],
)
def test_a_command_line_that_cannot_be_read_is_told_in_the_form_that_it_asks_for(
    words: list[str], environment: str | None
) -> None:
    given = {"RERANK_LOG_FORMAT": environment} if environment else {}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.rerank", *words, "--nonsense"],
        cwd=ROOT, env=os.environ | given, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    if "text" in words:
        assert done.stderr.splitlines()[-1].startswith("error: ")
        return
    [error] = objects(done.stderr)
    assert "--nonsense" in error["message"]


def test_secrets_and_control_characters_stay_out_of_objects(
    job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CliRunner().invoke(app, ["run", "-c", str(job), "--log-format", "json", "--print-config"])
    handler = logging.getLogger("pipeline").handlers[0]
    record = logging.makeLogRecord({"msg": "s3://me:hunter22@b \x1b[2J\u202e\n{}"})
    text = handler.format(record)
    assert json.loads(text)["message"] == "s3://***@b \x1b[2J\u202e\n{}"
    assert text.isascii() and text.isprintable()
    assert told(ConfigurationError("s3://me:hunter22@b")) == 2
    [error] = objects(capsys.readouterr().err)
    assert error["message"] == "s3://***@b"
    CliRunner().invoke(app, ["run", "-c", str(job), "--print-config"])
    assert "INFO" in logging.getLogger("pipeline").handlers[0].format(
        logging.makeLogRecord({"msg": "x", "levelname": "INFO"})
    )
