"""A value is what its setting is, whatever YAML alone would make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DistillConfig, JobConfig, load_config, to_yaml
from pipeline.engine.families import with_settings
from pipeline.errors import ConfigurationError

MINIMAL = "model: {name: lexical}\ninput: {path: in}\noutput: {path: out}\n"

#: What YAML 1.1 takes for something else, or does not take at all.
TEXTS = [
    " | ", " ", "|", ">", "*", "*.parquet", "**/x", "#", " # ", "&a", "!x", "%", "@", "`", "a: b",
    "a #b", "- a", "? a", "{a,b}", "out/{a,b}", "[ab]*.parquet", "part-[0-9].parquet", "yes", "no",
    "on", "true", "~", "~/x", "1.0", "0012", "1e5", "123", "0x1F", "1_000", "12:30:45",
    "2024-01-01", ".inf", "=", "<<", "a=b", "'", '"', "it's", "\\n", "é", "粗い紙", "😀", "\t", "",
    "s3://bucket/a@b", "C:\\x", "Null", "a,b", "---", "...",
]  # fmt: skip


def one(key: str, value: str, **options: Any) -> Any:
    job: Any = load_config(JobConfig, MINIMAL, overrides=[f"{key}={value}"], **options)
    for name in key.split("."):
        job = job[name] if isinstance(job, dict) else getattr(job, name)
    return job


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_taken_character_by_character(text: str) -> None:
    assert one("input.text_separator", text) == text
    assert one("model.revision", text) == text
    assert one("model.weights", text) == text
    assert one("input.columns.text", text) == text
    assert one("model.settings.query_prefix", text, opened=bi_encoder) == text
    if text:
        assert one("input.path", text) == (text,)
        assert one("output.path", text) == text


def bi_encoder(data: Any) -> Any:
    return with_settings({"model": {"family": "bi_encoder"}})


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_but_a_quoted_one_is_itself_and_reads_back_from_a_file(text: str) -> None:
    if text != "null" and not (len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"):
        assert one("input.text_separator", text) == text
    job = load_config(JobConfig, yaml.safe_dump({"model": {"name": "lexical"}, "input": {
        "path": "in", "text_separator": text}, "output": {"path": "out"}}))  # fmt: skip
    assert job.input.text_separator == text
    assert load_config(JobConfig, to_yaml(job)) == job


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("input.text_separator", '" | "', " | "),
        ("input.text_separator", "' '", " "),
        ("input.text_separator", r'"\n"', "\n"),
        ("input.text_separator", "null", "null"),
        ("model.revision", "null", None),
        ("model.revision", '"null"', "null"),
        ("limit", "null", None),
        ("limit", "7", 7),
        ("limit", "0012", 12),
        ("limit", "1e3", 1000),
        ("limit", " 7 ", 7),
        ("units.documents", "1_000", 1000),
        ("units.documents", "0x10", 16),
        ("engine.memory_fraction", ".5", 0.5),
        ("engine.memory_fraction", "1", 1.0),
        ("progress.interval_s", "1e5", 1e5),
        ("engine.deterministic", "yes", True),
        ("engine.deterministic", "False", False),
        ("engine.dtype", "float16", "float16"),
        ("input.path", "[a, b]", ("a", "b")),
        ("input.path", "[1.0, no, '*']", ("1.0", "no", "*")),
        ("input.path", "a, b", ("a, b",)),
        ("output.columns", "[]", ()),
        ("output.columns", "title", ("title",)),
        ("input.text_columns", "null", None),
        (
            "input.columns",
            "{text: no, query_id: 2024-01-01}",
            {"text": "no", "query_id": "2024-01-01"},
        ),
        ("model", "{name: lexical, revision: 1.0}", None),
    ],
)
def test_other_kinds_are_parsed(key: str, value: str, expected: object) -> None:
    found = one(key, value)
    if key == "model":
        assert (found.name, found.revision) == ("lexical", "1.0")
    else:
        assert found == expected
        assert type(found) is type(expected)


def test_names_with_dots_are_keys_of_labels() -> None:
    job = load_config(
        JobConfig,
        MINIMAL,
        overrides=[
            "replicas.labels.ray.io/accelerator-type=A100",
            "replicas.min=2",
            "replicas.min=3",
        ],
    )
    assert job.replicas.labels == {"ray.io/accelerator-type": "A100"}
    assert job.replicas.min == 3


def test_teachers_are_folders_whatever_they_are_called() -> None:
    for value, runs in [
        ("2024-01-01", ["2024-01-01"]),
        ("[1.0, no]", ["1.0", "no"]),
        ("{run: null.x}", ["null.x"]),
        ("[{run: a}, b]", ["a", "b"]),
    ]:
        job = load_config(DistillConfig, overrides=[f"teachers={value}", "output.path=o"])
        assert [teacher.run for teacher in job.teachers] == runs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limit", ""), ("limit", "x"), ("limit", "~"), ("limit", "1.5"), ("limit", "[1"),
        ("limit", "9" * 5000), ("engine.memory_fraction", ".nan"), ("engine.deterministic", "x"),
        ("engine.dtype", "null"), ("input.path", ""), ("input.path", "[a, '']"),
        ("output.path", ""), ("engine", "x"), ("input.columns", "{a: [b]}"),
        ("input.columns", "{a"),
        ("input.columns", "{a: b, a: c}"), ("a..b", "1"), (".a", "1"), ("a.", "1"), ("", "1"),
        ("replicas.labels", "x"),
    ],
)  # fmt: skip
def test_what_fits_no_setting_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config(JobConfig, MINIMAL, overrides=[f"{key}={value}"])
    assert len(str(caught.value)) < 1000 + len(value)


def test_a_file_is_read_by_the_same_rules() -> None:
    job = load_config(
        JobConfig,
        "model: {name: 1.0, revision: 0012}\n"
        "input:\n  path: [2024-01-01, no, 1e5]\n  columns: {query_id: no, no: yes, 1: 0x1F}\n"
        "output: {path: 007, columns: on}\nlimit: 010\n",
    )
    assert (job.model.name, job.model.revision) == ("1.0", "0012")
    assert job.input.path == ("2024-01-01", "no", "1e5")
    assert job.input.columns == {"query_id": "no", "no": "yes", "1": "0x1F"}
    assert (job.output.path, job.output.columns, job.limit) == ("007", ("on",), 10)


def test_sections_without_a_known_type_are_yaml() -> None:
    settings_ = "a: 1\n    b: [x, 2.5, yes]\n    c: 0012\n    d: null\n    e: 2024-01-01\n"
    job = load_config(
        JobConfig,
        MINIMAL.replace("{name: lexical}", f"\n  family: my.own\n  settings:\n    {settings_}"),
    )
    assert job.model.settings == {
        "a": 1, "b": ["x", 2.5, True], "c": "0012", "d": None, "e": "2024-01-01"
    }  # fmt: skip


def test_merged_aliases_work_and_the_first_wins() -> None:
    text = "input: &a {path: in, text_separator: x}\nmodel: {name: lexical}\noutput: {path: out}\n"
    job = load_config(JobConfig, text + "engine: {<<: [{dtype: float16}, {dtype: float32}]}\n")
    assert job.engine.dtype == "float16"


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * 9) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


def merged_bomb(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [
        f"a{i}: &a{i} {{y{i}: 1, <<: [{','.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, levels)
    ]
    return "\n".join(lines)


INDENTED = "\n".join("    " + line for line in bomb(12).splitlines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (bomb(12), "line 1: more than 20,000 values"),
        (merged_bomb(12), "more than 20,000 values"),
        (f"model:\n  name: lexical\n  settings:\n{INDENTED}", "more than 20,000 values"),
        (f"output:\n  path:\n{INDENTED}", "more than 20,000 values"),
        ("a: &a [*a]", "line 1: an alias that contains itself"),
        ("a: &a {b: *a}", "an alias that contains itself"),
        ("a: &a {<<: *a}", "an alias that contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("a: " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("model: {name: x}\ninput: {path: i}\nmodel: {name: y}", "line 3: the key 'model' stands"),
        ("input: {path: a, path: b}", "line 1: the key 'path' stands there twice"),
        ("model: {name: !!python/object/apply:os.system [ls]}", "tag .*os.system' is not accepted"),
        ("model: !thing {name: x}", "tag '!thing' is not accepted"),
        ("model: {name: !!binary aGk=}", "is not accepted"),
        ("[a, b]: c", "line 1: a key must be a plain word"),
        ("? {a: b}\n: c", "a key must be a plain word"),
        ("a: b\n---\nc: d", "not valid YAML: line 2"),
        ("a: *nowhere", "not valid YAML: line 1, column 4: found undefined alias"),
        ("a: \x00b", "not valid YAML"),
        ("a: \ud800", "not valid YAML"),
        ("a: [", "not valid YAML: line 1"),
        ("%YAML 9", "not valid YAML"),
        ("just text", "expected a mapping"),
    ],
    ids=range(23),
)
def test_documents_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_config(JobConfig, text, source="job.yaml")
    assert str(caught.value).startswith("job.yaml: ")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input.path", "s3://AKID:hunter22@bucket/in"),
        ("input.path", "[a, 's3://AKID:hunter22@bucket/in']"),
        ("output.path", "https://user:hunter22@host/out"),
        ("model.weights", "s3://bucket/w?X-Amz-Signature=hunter22"),
        ("model.settings.image_base", "s3://AKID:hunter22@bucket"),
        ("input.images.base", "s3://AKID:hunter22@bucket"),
        ("input.images.roots", "[a, 's3://AKID:hunter22@bucket']"),
        ("replicas.labels.x", "https://hunter22@host"),
        ("ray.address", "ray://user:hunter22@host:10001"),
        ("nonsense", "s3://AKID:hunter22@bucket"),
    ],
)
def test_credentials_are_refused_and_not_repeated(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"'{key}': holds credentials") as caught:
        load_config(JobConfig, MINIMAL, overrides=[f"{key}={value}"])
    assert "hunter22" not in str(caught.value)
    with pytest.raises(ValueError, match="holds credentials") as raw:
        JobConfig.model_validate({"output": {"path": "https://user:hunter22@host/out"}})
    assert "hunter22" not in str(raw.value)
    fine = load_config(JobConfig, MINIMAL, overrides=["input.path=s3://bucket/a@b"])
    assert fine.input.path == ("s3://bucket/a@b",)
