"""The job file of a command line: what is read, and what is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs.command import read_config
from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError

TEXT = "model: {name: lexical}\ninput: {path: in}\noutput: {path: é}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_with_or_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "job.yaml").write_text(TEXT, encoding=encoding)
    job = read_config(JobConfig, tmp_path / "job.yaml", ["limit=3"], limit=4)
    assert (job.output.path, job.limit) == ("é", 4)


def test_a_pipe_that_the_shell_has_opened_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, TEXT.encode())
    os.close(writing)
    try:
        assert read_config(JobConfig, Path(f"/dev/fd/{reading}"), []).output.path == "é"
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TEXT.encode("utf-16"), r"job\.yaml: not UTF-8 \(byte 0\)"),
        (TEXT.encode("latin-1"), r"job\.yaml: not UTF-8 \(byte \d+\)"),
        (TEXT.encode() + b"a: \x00", r"job\.yaml: not valid YAML"),
        (b"#" * 300_000, r"job\.yaml: larger than 256 KiB"),
        (b"", r"job\.yaml: missing key 'model'"),
    ],
)
def test_bytes_that_are_no_job(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "job.yaml").write_bytes(data)
    with pytest.raises(ConfigurationError, match=message):
        read_config(JobConfig, tmp_path / "job.yaml", [])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path / "pipe", "is no regular file"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path, "is a folder"),
        (tmp_path / "missing", "No such file"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            read_config(JobConfig, path, [])


def test_settings_of_a_family_are_read_by_their_types(tmp_path: Path) -> None:
    job = read_config(
        JobConfig,
        None,
        [
            "model={family: bi_encoder, weights: w}",
            "model.settings={document_prefix: 2024-01-01}",
            "model.settings.query_prefix=1.0",
            "model.settings.max_length=0128",
            "input.path=in",
            "output.path=out",
        ],
    )
    expected = {"document_prefix": "2024-01-01", "query_prefix": "1.0", "max_length": 128}
    assert job.model.settings == expected
    carded = ["model.name=all-minilm-l6-v2", "model.settings.query_prefix= no ", "input.path=in"]
    job = read_config(JobConfig, None, [*carded, "output.path=out"])
    assert job.model.settings == {"query_prefix": " no "}
