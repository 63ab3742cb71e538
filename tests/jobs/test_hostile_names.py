"""Commands over a run whose paths and ids try to be markup, escape sequences and lines of ours."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from pipeline.commands import app
from tests.makers import write

NAME = "[/x] [red]:smile: \x1b[31m\nerror: forged \u202e"
SHOWN = "[/x] [red]:smile: \\x1b[31m\\nerror: forged \\u202e"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    table = pa.table(
        {
            "query_id": [f"q{NAME}"] * 2 + ["q2"] * 2,
            "query": [f"red shoes {NAME}"] * 2 + ["hat"] * 2,
            "doc_id": [f"a{NAME}", f"b{NAME}", "c", "d"],
            "text": ["a hat", "red shoes", "shoes", "a hat"],
        }
    )
    data = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(folder / f"in {NAME}.parquet", table))},
        "output": {"path": str(folder / f"out {NAME}")},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(data))
    qrels = f"q{NAME}\tb{NAME}\t1\nq2\td\t1\n".replace("\n", " ").replace("1 q2", "1\nq2")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels.strip() + "\n")
    return folder / "job.yaml"


def test_every_command_shows_them_as_they_are(job: Path) -> None:
    out = str(job.parent / f"out {NAME}")
    commands = [
        (["run", "-c", job, "--dry-run"], True),
        (["run", "-c", job], True),
        (["run", "-c", job], True),
        (["plan", "-c", job], True),
        (["status", out], True),
        (["status", out, "--json"], False),
        (["resume", out], True),
        (["gc", out], False),
        (["evaluate", out, "--qrels", job.parent / "qrels.tsv"], False),
        (["compare", "-c", job, "--model", "lexical"], True),
        (["compare", "-c", job, "--model", f"lexical{NAME}"], True),
        (["run", "-c", job, "--print-config"], False),
        (["run", "-c", job, "--set", f"input.path=gone{NAME}"], True),
        (["run", "-c", job, "--set", f"model.name={NAME}"], True),
        (["run", "-c", job, "--set", f"a{NAME}=b"], True),
        (["run", "-c", job.parent / NAME], True),
        (["status", f"/none{NAME}"], True),
        (["verify", NAME], True),
        (["export", f"/none{NAME}", "--format", NAME], True),
    ]
    for words, named in commands:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code in (0, 2, 3, 4), (words, done.output)
        assert not {"\x1b", "\u202e", "\r"} & set(done.output), words
        assert not [line for line in done.output.splitlines() if line.startswith("error: forged")]
        if named:
            shown = done.output.replace("\n    ", "\\n")  # further lines of a message are indented
            assert SHOWN in shown.replace("\\\\", "\\"), (words, done.output)
