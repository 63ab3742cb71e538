from __future__ import annotations

import pytest
import yaml

from pipeline.config import JobConfig, load_config, to_yaml
from pipeline.errors import ConfigurationError

MINIMAL = "model: {name: lexical}\ninput: {path: in}\noutput: {path: out}\n"


def test_defaults_files_and_overrides_are_merged_in_that_order() -> None:
    text = MINIMAL + "engine: {dtype: float16}\n"
    job = load_config(JobConfig, text, overrides=["engine.token_budget=7", "replicas.min=2"])
    assert (job.engine.dtype, job.engine.token_budget) == ("float16", 7)
    assert (job.replicas.min, job.replicas.most) == (2, 2)
    assert job.input.path == ("in",)


def test_a_resolved_configuration_reads_back_as_itself() -> None:
    job = load_config(JobConfig, MINIMAL, overrides=["output.columns=[title]"])
    assert load_config(JobConfig, to_yaml(job)) == job
    assert list(yaml.safe_load(to_yaml(job)))[:3] == ["model", "input", "output"]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (MINIMAL + "engin: {}\n", [], r"job\.yaml: unknown key 'engin'; did you mean 'engine'\?"),
        (MINIMAL, ["engine.token_buget=3"], r"'engine\.token_buget'; did you mean 'token_budget'"),
        (MINIMAL, ["replicas.min=0"], r"'replicas\.min': .*greater than or equal to 1.*got 0"),
        (MINIMAL, ["replicas.max=0"], r"replicas\.max"),
        (MINIMAL, ["replicas.min=3", "replicas.max=2"], r"replicas\.max \(2\) is below"),
        (MINIMAL, ["engine.dtype=int4"], r"'engine\.dtype'.*'bfloat16'"),
        (MINIMAL, ["lease.ttl_s=inf"], r"'lease\.ttl_s': .*finite number"),
        (MINIMAL + "storage: {stall_s: .nan}\n", [], r"'storage\.stall_s': .*finite number"),
        (MINIMAL, ["engine"], "expected KEY=VALUE"),
        (MINIMAL, ["limit.x=1", "limit=[1"], "not valid YAML|limit"),
        (MINIMAL, ["input.path.x=1"], "'input.path' is a value, not a section"),
        ("model: {name: x}\ninput: {path: in}\n", [], "missing key 'output'"),
        ("model: {revision: x}\ninput: {path: i}\noutput: {path: o}\n", [], "set model.name"),
        ("- 1\n", [], "expected a mapping"),
        ("a: [", [], "not valid YAML"),
    ],
)
def test_errors_name_the_key(text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_config(JobConfig, text, source="job.yaml", overrides=overrides)


def test_settings_are_frozen() -> None:
    job = load_config(JobConfig, MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        job.limit = 3  # type: ignore[misc]
