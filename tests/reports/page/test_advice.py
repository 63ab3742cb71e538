"""What a page says is to be done names what the run ended with."""

from __future__ import annotations

import pytest

from pipeline.reports.page.advice import FAILED, PUBLISHED, RUNNING, advice


@pytest.mark.parametrize("setting", ["max_error_rate", "max_unit_error_rate"])
def test_the_rate_that_was_passed_is_the_one_to_raise(setting: str) -> None:
    said = f"3 of 48 candidates could not be scored, more than quarantine.{setting} = 0.01"
    found = advice(FAILED, {"kind": "QuarantineError", "message": said}, "/out/a b")
    assert found is not None
    assert found.commands[0] == f"rerank resume '/out/a b' --set quarantine.{setting}=RATE"


def test_there_is_nothing_to_be_done_about_a_run_that_went_well_and_every_error_has_advice() -> (
    None
):
    assert advice(PUBLISHED, None, "/out") is None
    at_work = advice(RUNNING, {"kind": "LimitError", "message": "x"}, "/out")
    assert at_work is not None
    assert at_work.commands == ("rerank status /out",)
    unknown = advice(FAILED, {"kind": "Strange", "message": "x"}, "/out")
    assert unknown is not None
    assert unknown.commands[0] == "rerank resume /out"
