"""A job gets the environment and the command that were asked for, and no secret."""

from __future__ import annotations

import subprocess
from datetime import date

import pytest

from pipeline.cluster.job_request import command_line, job_environment, refuse_paths_of_this_machine
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError


def test_the_environment_holds_what_was_asked_for_and_no_secret() -> None:
    local = {"AWS_ENDPOINT_URL": "http://store", "AWS_SECRET_ACCESS_KEY": "canary"}
    found = job_environment(["AWS_ENDPOINT_URL", "A=b=c", "EMPTY="], grace_s=7, local=local)
    assert found == {
        "RAY_JOB_STOP_WAIT_TIME_S": "7",
        "AWS_ENDPOINT_URL": "http://store",
        "A": "b=c",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "no secret goes there"),
        ("AWS_ACCESS_KEY_ID=x", "no secret goes there"),
        ("HF_TOKEN=x", "no secret goes there"),
        ("db_password=x", "no secret goes there"),
        ("FEED_URL", "its value holds credentials"),
        ("X=postgresql://me:hunter22@db/x", "its value holds credentials"),
        ("NOT_SET_HERE", "not set here; give NAME=VALUE"),
        ("=x", "give NAME=VALUE"),
        ("a b=x", "give NAME=VALUE"),
    ],
)
def test_what_must_not_be_in_an_environment(assignment: str, message: str) -> None:
    local = {"AWS_SECRET_ACCESS_KEY": "canary", "FEED_URL": "redis://:hunter22@feed:6379"}
    with pytest.raises(ConfigurationError, match=message):
        job_environment([assignment], grace_s=1, local=local)


def test_the_command_line_is_quoted_for_a_shell() -> None:
    line = command_line(
        "python", "a b.yaml", ["output.columns=[title, lang]"], limit=3, allow_code={"b.c", "a.b"}
    )
    spoken = subprocess.run(
        ["/bin/sh", "-c", line.replace("python", "printf '%s\\n'", 1)],
        capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert spoken == [
        "-m", "rerank_pipeline", "run", "-c", "a b.yaml", "--set", "output.columns=[title, lang]",
        "--limit", "3", "--allow-code", "a.b", "--allow-code", "b.c",
    ]  # fmt: skip


def test_a_refresh_is_sent_with_its_night() -> None:
    line = command_line("python", "job.yaml", [], command="refresh", night=date(2026, 1, 31))
    assert line == "python -m rerank_pipeline refresh -c job.yaml --date 2026-01-31"


def test_a_card_of_this_machine_is_sent_with_its_folder_or_not_at_all() -> None:
    job = JobConfig.model_validate(
        {
            "model": {"name": "rerank-models/mine.yaml"},
            "input": {"path": "s3://bucket/in"},
            "output": {"path": "s3://bucket/out"},
        }
    )
    with pytest.raises(ConfigurationError, match=r"'model\.name': .* is relative"):
        refuse_paths_of_this_machine(job, uploaded=False)
    refuse_paths_of_this_machine(job, uploaded=True)
