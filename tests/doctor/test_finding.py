"""Whatever a look raises becomes a line, and ends no examination."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.doctor.finding import NOTHING, Finding, looked, ok
from pipeline.errors import ConfigurationError, RerankError


def raising(error: Exception) -> list[Finding]:
    def look() -> Sequence[Finding]:
        raise error

    return looked("thing", look)


@pytest.mark.parametrize(
    ("text", "found", "to_do"),
    [
        ("thing: is wrong; set it right; or not", "thing: is wrong", "set it right; or not"),
        ("thing: is wrong. Set it right", "thing: is wrong", "Set it right"),
        ("thing: is wrong", "thing: is wrong", "see the message"),
    ],
)
def test_an_error_of_ours_says_what_is_to_do(text: str, found: str, to_do: str) -> None:
    for error in (RerankError(text), ConfigurationError(text)):
        [line] = raising(error)
        assert (line.state, line.found, line.to_do) == ("problem", found, to_do)


def test_any_other_error_is_a_problem_without_its_secrets() -> None:
    [line] = raising(OSError("https://me:hunter2@hub.example.com/api does not answer"))
    assert line.state == "problem"
    assert line.described()["found"] == "OSError: https://***@hub.example.com/api does not answer"


def test_what_is_found_is_kept() -> None:
    [line] = looked("thing", lambda: [ok("thing", "is there")])
    assert (line.state, line.to_do) == ("ok", NOTHING)
