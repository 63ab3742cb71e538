"""An output folder within the input is refused before anything is read, whatever names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.own_output import refuse_own_output
from pipeline.execution.preparation import prepare
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write


def config(path: str | list[str], output: str, **others: str) -> JobConfig:
    job = lexical_job("x", output)
    return JobConfig.model_validate(job | {"input": {"path": path, **others}})


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("data", "data/out"),
        ("data/", "data"),
        (["other", "data"], "data/a/b"),
        ("data/**", "data/out"),
        ("data/**/*.csv", "data/out"),
        ("data/*", "data/out"),
        ("./data/../data", "data/out"),
        ("s3://bucket/data", "s3://bucket/data/out"),
        ("s3://bucket", "s3a://bucket/out"),
        ("gs://bucket", "gcs://bucket/out"),
    ],
)
def test_refused(path: str | list[str], output: str) -> None:
    with pytest.raises(ConfigurationError, match=r"output\.path: .* lies within input\.path"):
        refuse_own_output(config(path, output))


@pytest.mark.parametrize(
    ("path", "output"),
    [
        ("data", "data-out"),
        ("data", "out/data"),
        ("data/lists.parquet", "data"),
        ("data/*.parquet", "data/out"),
        ("data", "data/_out"),
        ("data", "data/.out"),
        ("out", "."),
        ("s3://bucket/data", "s3://bucket/data-2"),
        ("s3://bucket/data", "s3://other/data/out"),
    ],
)
def test_allowed(path: str, output: str) -> None:
    refuse_own_output(config(path, output))


def test_corpus_and_queries_are_looked_at(tmp_path: Path) -> None:
    for name in ("corpus", "queries"):
        with pytest.raises(ConfigurationError, match=rf"lies within input\.{name}: docs"):
            refuse_own_output(config("run.trec", "docs/out", **{name: "docs"}))


def test_staged_copies_are_looked_at() -> None:
    with pytest.raises(ConfigurationError, match=r"^input\.staging: data/copies lies within"):
        refuse_own_output(config("data", "out", staging="data/copies"))
    refuse_own_output(config("data", "out", staging="data/_copies"))


def test_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    with pytest.raises(ConfigurationError):
        refuse_own_output(config(str(tmp_path / "link"), str(tmp_path / "data" / "out")))


def test_a_job_says_so_before_it_opens_anything(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.parquet", long_table(queries=1))
    with pytest.raises(ConfigurationError, match="lies within"):
        prepare(config(str(tmp_path / "data"), str(tmp_path / "data" / "out")))
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(ConfigurationError, match="lies within"):
        prepare(config(str(tmp_path / "data"), str(tmp_path / "data" / "out")))
