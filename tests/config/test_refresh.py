"""The settings of a refresh are those of a run, and a section more."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config import JobConfig, RefreshConfig, load_config
from pipeline.config.dates import names_date, with_date
from pipeline.config.refresh import RefreshSection
from pipeline.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = "model: {name: lexical}\ninput: {path: in.parquet}\noutput: {path: out}\n"
NIGHT = date(2026, 3, 9)


def load(*overrides: str) -> RefreshConfig:
    return load_config(RefreshConfig, MINIMAL, overrides=overrides)


@pytest.mark.parametrize(
    ("path", "filled"),
    [
        ("s3://lists/day={date}/", "s3://lists/day=2026-03-09/"),
        ("in/{date:%Y/%m/%d}/*.parquet", "in/2026/03/09/*.parquet"),
        ("{date:%Y%m%d}-{date}.parquet", "20260309-2026-03-09.parquet"),
        ("in/{a,b}/{dates}.parquet", "in/{a,b}/{dates}.parquet"),
        ("in/100%{date}.parquet", "in/100%2026-03-09.parquet"),
    ],
)
def test_the_date_stands_where_a_path_names_it(path: str, filled: str) -> None:
    assert with_date(path, NIGHT) == filled
    assert names_date(path) == (filled != path)


def test_the_job_of_a_night_is_an_ordinary_one() -> None:
    config = load(
        "input.path=in/{date}.parquet", "input.corpus=corpus-{date}.tsv",
        "input.queries=queries.tsv", "refresh.max_age_days=30", "units.documents=10",
    )  # fmt: skip
    job = config.job(NIGHT)
    assert type(job) is JobConfig
    assert job.input.path == ("in/2026-03-09.parquet",)
    assert job.input.corpus == ("corpus-2026-03-09.tsv",)
    assert job.input.queries == ("queries.tsv",)
    assert job.units == config.units
    # It is what a run's run.json holds, and what `rerank resume` reads.
    assert load_config(JobConfig, job.model_dump(mode="json")) == job


def test_the_folder_of_publications_is_the_same_every_night() -> None:
    with pytest.raises(ConfigurationError, match=r"output\.path: 'out/\{date\}'.*remove \{date\}"):
        load("output.path=out/{date}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("refresh.max_age=3", "did you mean 'max_age_days'"),
        ("refresh.max_age_days=0", "refresh.max_age_days"),
        ("refresh.retention.keep_last=1", "refresh.retention.keep_last"),
        ("refesh.max_age_days=3", "did you mean 'refresh'"),
    ],
)
def test_what_a_refresh_does_not_know_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(override)


def test_the_commented_example_names_every_setting_of_the_section_with_its_default() -> None:
    text = (ROOT / "conf/refresh.yaml").read_text(encoding="utf-8")
    section = yaml.safe_load(text)["refresh"]
    assert section == RefreshSection().model_dump(mode="json")
    assert load_config(RefreshConfig, text).refresh == RefreshSection()


def test_the_section_of_a_refresh_may_be_left_out() -> None:
    assert load().refresh == RefreshSection()
    assert isinstance(load().refresh, BaseModel)
