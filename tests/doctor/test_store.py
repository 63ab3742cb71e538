"""The store of a run: real ones, one that is not reached, and a clock that is off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.doctor import store
from pipeline.doctor.examine import Asked, examine
from pipeline.doctor.finding import looked
from pipeline.errors import NotFoundError
from pipeline.storage.policy import retry_policy
from pipeline.storage.store import list_names
from tests.makers import long_table, write


def states(found) -> list[tuple[str, str]]:
    return [(one.subject, one.state) for one in found]


def test_a_local_folder_is_as_it_was_afterwards(tmp_path: Path) -> None:
    kept = tmp_path / "runs"
    kept.mkdir()
    (kept / "other").write_text("mine")
    for folder in (kept, tmp_path / "new" / "deeper"):
        assert states(store.output(str(folder))) == [("store", "ok"), ("clock", "ok")]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["other", "runs"]


def test_an_object_store_is_written_to_and_left_as_it_was(s3_folder: str) -> None:
    assert states(store.output(s3_folder)) == [("store", "ok"), ("clock", "ok")]
    assert list_names(s3_folder) == []


@pytest.mark.parametrize(("hours", "words"), [(-1, "ahead of"), (1, "behind")])
def test_a_clock_that_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, words: str
) -> None:
    def shifted(_: str) -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    monkeypatch.setattr(store, "last_modified", shifted)
    _, clock = store.output(str(tmp_path))
    assert clock.state == "note"
    assert words in clock.found
    assert "3,600 s" in clock.found or "3,599 s" in clock.found


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    [found] = looked("store", lambda: store.output(str(tmp_path / "file" / "runs")))
    assert found.state == "problem"
    assert found.found.startswith(str(tmp_path / "file"))
    assert "_probe" not in found.found + found.to_do


def test_a_store_that_does_not_answer_is_given_up_soon(
    s3_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    before = retry_policy()
    found = {one.subject: one for one in examine(Asked(output=s3_folder))}
    assert found["store"].state == "problem"
    assert found["store"].found.startswith(f"{s3_folder}: could not be written in 3 attempts")
    assert "AWS_ENDPOINT_URL" in found["store"].to_do
    assert retry_policy() == before


def test_an_input_that_is_there_and_one_that_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", long_table())
    [found] = store.inputs((str(path),))
    assert (found.state, found.found.partition(",")[0]) == ("ok", "1 file")
    with pytest.raises(NotFoundError):
        store.inputs((str(tmp_path / "absent.parquet"),))
