"""What is not installed is named, with the extra that installs it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.extras import library

ROOT = Path(__file__).resolve().parents[1]


def test_a_library_is_the_module_asked_for() -> None:
    assert library("json", extra="eval", needed_by="evaluation") is json


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    expected = "evaluation needs no_such; install it: pip install 'rerank-pipeline[eval]'"
    with pytest.raises(ConfigurationError, match=re.escape(expected)):
        library("no_such.part", extra="eval", needed_by="evaluation")


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        extra
        for path in (ROOT / "pipeline").rglob("*.py")
        for pair in re.findall(
            r'extra="(\w+)", needed_by|rerank-pipeline\[(\w+)\]', path.read_text(encoding="utf-8")
        )
        for extra in pair
        if extra
    }
    assert {"eval", "report", "train"} <= named <= set(project["optional-dependencies"])
