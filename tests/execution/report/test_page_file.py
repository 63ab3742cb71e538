"""The page that a session leaves, whether it published its run or failed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import JobConfig
from pipeline.errors import FencedError, QuarantineError, RunFailedError
from pipeline.execution.preparation import prepare
from pipeline.execution.report.contents import contents, gathered, state_of
from pipeline.execution.report.page_file import write_page
from pipeline.execution.report.units import totals, units_of
from pipeline.execution.run import execute
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.state import run_state
from pipeline.execution.session import _described
from pipeline.sequences.lengths import LengthHistogram
from tests.execution.drivers import lexical_job
from tests.makers import long_table, write

pytestmark = pytest.mark.usefixtures("believed_store")


def job(folder: Path, table: pa.Table, **sections: Any) -> JobConfig:
    path = write(folder / "in.parquet", table)
    sections = {"report": {"page": True}} | sections
    return JobConfig.model_validate(lexical_job(path, str(folder / "out"), **sections))


def test_a_published_run_has_a_page_and_its_numbers_in_the_report(tmp_path: Path) -> None:
    folder = RunFolder(execute(prepare(job(tmp_path, long_table(queries=30)))).folder)
    page = Path(folder.file("report.html")).read_text()
    report, units = folder.report(), units_of(folder)
    assert 'class="state published"' in page
    assert f"{totals(units)['documents']:,}" in page
    # Stages, lengths, scores, origin; speed and replicas where it took long enough for a curve.
    assert 4 <= page.count("<svg") <= 6
    # Every document once: lengths are exact, whatever the bins.
    lengths = LengthHistogram.from_dict(report["lengths"])
    assert lengths.total_tokens == folder.manifest()["tokens"] == totals(units)["tokens"]
    assert report["stage_seconds"].keys() == {
        "read", "encode", "wait_for_replica", "score", "wait_for_writer", "rank", "write",
    }  # fmt: skip
    assert min(report["stage_seconds"].values()) >= 0
    assert report["results"]["sample"]["documents"] == totals(units)["documents"]
    assert (report["error"], report["sessions"]) == (None, [])
    # The page is no part of the run that anything else trips over.
    assert not run_state(folder)["problems"]
    # What somebody asks for later comes to the same.
    assert json.loads(json.dumps(gathered(folder, folder.describe(), units))) == {
        name: report[name] for name in ("results", "quarantine_examples", "examples")
    }


def test_a_run_that_failed_says_what_to_do_and_is_resumed_as_one(tmp_path: Path) -> None:
    table = long_table(queries=30)
    texts = [None if n % 3 == 0 else t for n, t in enumerate(table.column("text").to_pylist())]
    table = table.set_column(table.column_names.index("text"), "text", pa.array(texts))
    strict = {"max_error_rate": 0.1, "max_unit_error_rate": 1.0}
    prepared = prepare(job(tmp_path, table, quarantine=strict))
    with pytest.raises(QuarantineError):
        execute(prepared)
    folder = prepared.folder
    page = Path(folder.file("report.html")).read_text()
    assert 'class="state failed"' in page
    assert "more than quarantine.max_error_rate" in page
    assert f"rerank resume {folder.path} --set quarantine.max_error_rate" in page
    first = folder.report()
    assert first["error"]["kind"] == "QuarantineError"
    assert len(first["quarantine_examples"]["null_text"]) == 3
    assert state_of(folder, first) == "failed"
    execute(prepare(job(tmp_path, table)))
    second = folder.report()
    assert [one["state"] for one in second["sessions"]] == ["QuarantineError"]
    assert second["lengths"]["tokens"] == 0  # every unit was there already
    data = contents(
        folder, folder.describe(), units_of(folder), second, state="published", planned=(1, 1)
    )
    assert data["lengths"]["tokens"] == folder.manifest()["tokens"]
    assert data["error"] is None
    assert "1 earlier session" in Path(folder.file("report.html")).read_text()


def test_an_error_is_told_by_the_nearest_class_that_is_known() -> None:
    class SlowStartError(RunFailedError):
        pass

    assert _described(SlowStartError("too slow")) == {
        "kind": "RunFailedError",
        "message": "too slow",
    }
    assert _described(KeyboardInterrupt()) == {
        "kind": "KeyboardInterrupt",
        "message": "KeyboardInterrupt",
    }


def test_no_page_is_written_where_none_is_wanted(tmp_path: Path) -> None:
    outcome = execute(prepare(job(tmp_path, long_table(), report={"page": False})))
    assert not Path(outcome.folder, "report.html").exists()
    assert RunFolder(outcome.folder).report()["results"]["scores"]


def test_a_page_never_fails_a_run_and_is_never_written_by_who_was_fenced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = execute(prepare(job(tmp_path, long_table(), report={"page": False})))
    folder = RunFolder(outcome.folder)
    page = Path(folder.file("report.html"))
    described, units = folder.describe(), units_of(folder)

    def fenced() -> None:
        raise FencedError("another driver has taken over")

    def write(report: dict[str, Any], fence: Any) -> None:
        write_page(folder, described, units, report, state="published", planned=(1, 1), fence=fence)

    with caplog.at_level(logging.WARNING, "pipeline"):
        logging.getLogger("pipeline").propagate = True
        write(folder.report(), fenced)
        assert not page.exists()
        write({"timeline": "nothing that can be drawn"}, lambda: None)
        assert not page.exists()
    assert "another driver has taken over" in caplog.text
    said = {record.getMessage() for record in caplog.records}  # several handlers may be there
    assert sum("no report.html was written" in message for message in said) == 2
    write(folder.report(), lambda: None)
    assert page.exists()


def test_the_page_of_a_run_does_not_change_which_run_it_is(tmp_path: Path) -> None:
    on, off = (
        prepare(job(tmp_path, long_table(), report={"page": page})).plan for page in (True, False)
    )
    assert on == off
