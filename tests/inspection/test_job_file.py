from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import JobConfig, load_config
from pipeline.inspection.job_file import job_file
from pipeline.resources import conf_path

TEMPLATE = conf_path("rerank.yaml").read_text(encoding="utf-8")
#: What a configuration may hold at all: no halves of surrogate pairs.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(path=NAMES, columns=st.dictionaries(st.sampled_from(["query", "text"]), NAMES), about=NAMES)
def test_whatever_names_are_they_are_read_back(path: str, columns: dict, about: str) -> None:
    values = {"input.path": [path], "input.columns": columns, "output.path": "out", "limit": 7}
    text = job_file(TEMPLATE, values, [about, "a second sentence"])
    job = load_config(JobConfig, text)
    assert job.input.path == (path,)
    assert job.input.columns == columns
    assert job.limit == 7
    default = load_config(JobConfig, TEMPLATE)
    unchanged = {"input": default.input, "output": default.output, "limit": None}
    assert job.model_copy(update=unchanged) == default


def test_comments_stay_and_say_what_is_known() -> None:
    text = job_file(TEMPLATE, {"input.path": ["a", "b"]}, ["many words " * 20])
    assert set(yaml.safe_load(text)) == set(yaml.safe_load(TEMPLATE))
    assert text.count("#") >= TEMPLATE.count("#") - 6
    assert max(map(len, text.partition("\n\n")[0].splitlines())) <= 100
    assert load_config(JobConfig, text).input.path == ("a", "b")


@pytest.mark.parametrize("key", ["input.colums", "inputs.path", "limitations"])
def test_a_key_that_the_template_lacks_is_noticed(key: str) -> None:
    with pytest.raises(ValueError, match="the template has no"):
        job_file(TEMPLATE, {key: 1}, [])
