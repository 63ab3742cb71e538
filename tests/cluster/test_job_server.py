"""What a job prints, and how it ends, is understood by the one who follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.rerank import show_plan
from pipeline.cluster.job_server import JobEnd, JobLog
from pipeline.config import JobConfig
from pipeline.execution.preparation import prepare
from tests.makers import long_table, write


@pytest.mark.parametrize("piece", [1, 7, 10_000])
def test_the_folder_that_a_run_prints_is_found_in_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], piece: int
) -> None:
    config = {
        "model": {"name": "lexical"},
        "input": {"path": str(write(tmp_path / "in.parquet", long_table(2)))},
        "output": {"path": str(tmp_path / "out of here")},
    }
    prepared = prepare(JobConfig.model_validate(config))
    show_plan(prepared)
    text = f"run\n  run        elsewhere\n{capsys.readouterr().out}"
    log = JobLog()
    for start in range(0, len(text), piece):
        log._look(text[start : start + piece])
    assert log.folder == prepared.folder.path


@pytest.mark.parametrize(
    ("status", "exit_code", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 6, 6),
        ("FAILED", None, 5),
        ("FAILED", -9, 137),
        ("STOPPED", None, 143),
        ("STOPPED", 0, 143),
    ],
)
def test_the_code_is_that_of_the_job(status: str, exit_code: int | None, code: int) -> None:
    assert JobEnd(status=status, exit_code=exit_code, message="", folder=None).code == code
