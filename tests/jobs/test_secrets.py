"""Nothing that a run prints or writes holds a secret, whoever repeats it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.commands import app
from tests.makers import long_table, write

MARKER = "hunter22Marker"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": f"{MARKER}/Zq+9=",
    "HF_TOKEN": f"hf_{MARKER}",
    "FEED_URL": f"redis://:{MARKER}@feed:6379/0",
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=a;AccountKey={MARKER};",
    "PGPASSWORD": MARKER,
}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job over a few lists, in an environment full of secrets."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    settings = {
        "model": {"family": "tests.execution.families.telling"},
        "input": {"path": str(write(tmp_path / "in.parquet", long_table(4)))},
        "output": {"path": str(tmp_path / "out")},
        "ray": {"mode": "in_process"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return tmp_path / "job.yaml"


def test_nothing_printed_or_written_holds_one(job: Path) -> None:
    allow = ["--allow-code", "tests.execution.families.telling"]
    out = str(job.parent / "out")
    commands = [
        (["run", "-c", str(job), *allow], 5),
        (["resume", out, *allow], 5),
        (["run", "-c", str(job), *allow, "--log-format", "json"], 5),
        (["status", out], 0),
        (["status", out, "--json"], 0),
        (["plan", "-c", str(job), *allow], 0),
        (["run", "-c", str(job), *allow, "--print-config"], 0),
    ]
    for words, code in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, (words, done.output)
        assert MARKER not in done.output, words
        assert "Zq+9" not in done.output, words
    written = [path for path in job.parent.rglob("*") if path.is_file()]
    assert {"run.json", "report.json", "lease.json"} <= {path.name for path in written}
    assert not [path for path in written if MARKER.encode() in path.read_bytes()]
    # And nobody reads what there is who may not read its folder.
    assert not [path for path in Path(out).rglob("*") if path.stat().st_mode & 0o077]
