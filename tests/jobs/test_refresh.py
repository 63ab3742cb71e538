"""What the commands say of a refresh: before it, after it, and where it cannot be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.refresh.publications.reading import current
from tests.refresh.collections import Collection, generated

pytestmark = pytest.mark.usefixtures("believed_store")

FIRST = generated(queries=10, documents=40)
SECOND = FIRST.with_texts(0.05, seed=3).with_queries(added=1, removed=1, seed=3)


def invoke(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def said(*words: object) -> str:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def job(tmp_path: Path) -> Path:
    nights: dict[str, Collection] = {"2026-01-30": FIRST, "2026-01-31": SECOND}
    for night, collection in nights.items():
        collection.write(tmp_path / f"{night}.parquet")
    described = {
        "model": {"name": "lexical"},
        "input": {"path": str(tmp_path / "{date}.parquet")},
        "output": {"path": str(tmp_path / "out")},
        "ray": {"mode": "in_process"},
        "report": {"page": False},
        "refresh": {},
    }
    path = tmp_path / "refresh.yaml"
    path.write_text(yaml.safe_dump(described), encoding="utf-8")
    return path


def test_a_night_is_explained_run_and_found_again(tmp_path: Path, job: Path) -> None:
    total = FIRST.table().num_rows
    first = said("refresh", "-c", job, "--date", "2026-01-30")
    assert "night 2026-01-30; nothing is published yet" in first
    assert "reuse nothing: first night" in first
    assert f"to score {total} of {total} documents (100.0%)" in first
    dry = said("refresh", "-c", job, "--date", "2026-01-31", "--dry-run")
    assert "serving publication 1" in dry
    assert "nothing was scored or published" in dry
    plan = said("plan", "-c", job, "--date", "2026-01-31")
    rows = {(row["query_id"], row["doc_id"]): row for row in FIRST.table().to_pylist()}
    today = {(row["query_id"], row["doc_id"]): row for row in SECOND.table().to_pylist()}
    new, gone = len(today.keys() - rows.keys()), len(rows.keys() - today.keys())
    rescore = sum(today[pair]["text"] != rows[pair]["text"] for pair in today.keys() & rows.keys())
    reuse = len(today) - new - rescore
    split = f"documents {reuse} reuse, {rescore} rescore, {new} new, {gone} gone"
    assert split in dry
    assert split in plan
    planned = json.loads(invoke("plan", "-c", job, "--date", "2026-01-31", "--json").output)
    assert planned["reuse"]["counts"]["documents"]["reuse"] == reuse
    assert planned["reuse"]["why"] is None
    refused = invoke("refresh", "-c", job, "--date", "2026-01-31")
    assert refused.exit_code == 7
    assert "FAILED     min_query_coverage: 0.9" in refused.output
    assert "gone: q" in refused.output  # a query to look at
    accept = ("--accept", "min_query_coverage", "--reason", "one was retired")
    second = said("refresh", "-c", job, "--date", "2026-01-31", *accept)
    assert f"{reuse} scores of an earlier run" in second  # of the same run, which was finished
    assert "published 2" in second
    assert f"publication 2 serves; {rescore + new} of {len(today)} documents scored" in second
    report = json.loads((tmp_path / "out" / run_id(tmp_path) / "report.json").read_text())
    assert report["reuse"]["counts"]["documents"]["reuse"] == reuse
    again = said("refresh", "-c", job, "--date", "2026-01-31")
    assert "finished before" in again
    assert "published 2, before" in again
    assert f"reused {reuse}" in said("status", tmp_path / "out").replace(" scores", "")


def run_id(folder: Path) -> str:
    """The run that serves."""
    serving = current(str(folder / "out"))
    assert serving is not None
    return serving.run_id


def test_a_refresh_is_not_run_as_a_job_that_is_no_refresh(job: Path) -> None:
    result = invoke("run", "-c", job)
    assert result.exit_code == 2
    assert "it is a job of `rerank refresh`" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--date", "yesterday"], 2, "does not match the format"),
        (["--accept", "min_overlap"], 2, "say why with --reason TEXT"),
        (["--reason", "because"], 2, "is that of --accept GATE"),
        (["--accept", "min_overlap", "--reason", " "], 2, "say why with"),
        (["--accept", "overlap", "--reason", "so"], 2, "no such gate; known: min_query_coverage"),
        (["--set", "refresh.gates.qrels=q.tsv"], 2, "min_ndcg is not; set both or neither"),
        (["--set", "refresh.max_age=3"], 2, "did you mean 'max_age_days'"),
        (["--set", "output.path=out/{date}"], 2, "remove {date}"),
        (["--set", "output.columns=[scored_at]"], 2, "'scored_at' is written by a run"),
        ([], 4, datetime.now(UTC).date().isoformat()),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_published(
    tmp_path: Path, job: Path, words: list[str], code: int, message: str
) -> None:
    result = invoke("refresh", "-c", job, *words)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert current(str(tmp_path / "out")) is None


def test_only_a_refresh_has_a_night(tmp_path: Path, job: Path) -> None:
    described = yaml.safe_load(job.read_text())
    del described["refresh"]
    other = tmp_path / "job.yaml"
    other.write_text(yaml.safe_dump(described))
    address = ("--address", "http://127.0.0.1:1")
    for words in (("plan",), ("submit", *address)):
        result = invoke(*words, "-c", other, "--date", "2026-01-31")
        assert (result.exit_code, "only a refresh has a night" in result.output) == (2, True)
