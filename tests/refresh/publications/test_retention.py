"""Retention: what a publication names is never removed, whatever else is, and however often it is
killed."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import failpoints
from pipeline.errors import ConfigurationError, DamagedRunError, RunFailedError
from pipeline.execution.runs import records
from pipeline.execution.runs.finding import is_run
from pipeline.execution.runs.holder import HELD, Holder
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications import retention
from pipeline.refresh.publications.claims import CLAIMS, MARKS, announce, announced
from pipeline.refresh.publications.publishing import create
from pipeline.refresh.publications.reading import current, history, run_of, sequences
from pipeline.refresh.publications.record import PUBLISH, Publication, path_of
from pipeline.refresh.publications.retention import beyond, retire
from pipeline.refresh.publications.rolling_back import rollback
from tests.execution.drivers import KILLED, Drivers
from tests.execution.oracle import files_below
from tests.refresh.publications.conftest import RUNS
from tests.refresh.publications.runs import HERE, make_run, night, publish_next

#: Later than anything that a test writes, by more than the time for which young things are left.
LATER = datetime.now(UTC) + timedelta(days=2)


def clear(root: str, keep_last: int | None = 1, **how: Any) -> list[str]:
    """Retire and delete; kinds of what went."""
    given = {"keep_days": None, "now": LATER, "delete": True} | how
    return [item.kind for item in retire(root, keep_last=keep_last, **given)]


def intact(root: str) -> bool:
    """Whether every publication names a run that is what was published."""
    return all(is_run(run_of(root, one).path) for one in history(root))


def some(days: Sequence[int]) -> list[Publication]:
    """Publications of so many days ago."""
    return [
        Publication(
            sequence=number, run_id="ab" * 8, manifest_sha256="0" * 64, date=date(2026, 1, 1),
            action=PUBLISH, by="ada@host", at=LATER - timedelta(days=ago),
        )
        for number, ago in enumerate(days, start=1)
    ]  # fmt: skip


limits = st.none() | st.integers(0, 12)


@given(days=st.lists(st.integers(0, 12), min_size=1, max_size=12), last=limits, age=limits)
def test_only_the_oldest_go_and_only_past_both_limits(
    days: list[int], last: int | None, age: int | None
) -> None:
    found = some(days)
    going = beyond(found, keep_last=last, keep_days=age, now=LATER)
    assert going == found[: len(going)]
    assert len(going) < len(found), "the current one stays"
    for one, ago in zip(going, days, strict=False):
        assert last is None or one.sequence <= len(found) - last
        assert age is None or ago >= age
    left = len(found) - len(going)
    if last is None and age is None:
        assert not going
    elif left > max(last or 1, 1) and age is not None:
        assert days[len(going)] < age, "the first that stays is young"
    elif age is None:
        assert left == min(max(last or 1, 1), len(found))


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Nights and rollbacks; each with the run that it names."""
    acts = st.tuples(st.sampled_from(["publish", "rollback"]), st.integers(0, RUNS - 1))
    return draw(st.lists(acts, min_size=1, max_size=7))


@settings(max_examples=25)
@given(
    story=stories(),
    keep_last=st.none() | st.integers(1, 4),
    keep_days=st.none() | st.integers(0, 9),
    killed=st.none() | st.integers(1, 6),
    point=st.sampled_from(failpoints.OF_RETENTION),
)
def test_what_is_left_names_whole_runs_however_it_was_killed(
    template: Path,
    story: list[tuple[str, int]],
    keep_last: int | None,
    keep_days: int | None,
    killed: int | None,
    point: str,
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = f"{folder}/out"
        shutil.copytree(template, root)
        tell(root, story)
        before, now = history(root), current(root)
        if killed is not None:
            patch.setenv(failpoints.VARIABLE, f"{point}:{killed}=raise")
            failpoints._hits.clear()
        given = {"keep_days": keep_days, "now": datetime.now(UTC) + timedelta(days=10)}
        try:
            clear(root, keep_last, **given)
        except failpoints.FailpointError:
            assert current(root) == now
            assert intact(root), "killed half way"
        patch.delenv(failpoints.VARIABLE, raising=False)
        clear(root, keep_last, **given)
        assert clear(root, keep_last, **given) == [], "nothing is left to do"
        assert current(root) == now
        left = history(root)
        assert left == before[: len(left)]
        assert intact(root)
        assert not announced(root, MARKS)
        published = {one.run_id for one in before}
        named = {one.run_id for one in left} | retention.latest_of(root)
        there = {path.name for path in Path(root).iterdir() if is_run(str(path))}
        original = {path.name for path in template.iterdir() if path.is_dir()}
        assert there == (original - published) | named, "and of others none went"
        assert not {path.name for path in Path(root).iterdir()} & (original - there)


def tell(root: str, story: list[tuple[str, int]]) -> None:
    """Publications as they would have been made in so many nights, straight into their folder."""
    runs = sorted(path for path in Path(root).iterdir() if path.is_dir())
    for sequence, (action, number) in enumerate(story, start=1):
        manifest = Path(runs[number], "manifest.json").read_bytes()
        create(
            root,
            Publication(
                sequence=sequence,
                run_id=runs[number].name,
                manifest_sha256=hashlib.sha256(manifest).hexdigest(),
                date=night(sequence),
                action=action,
                by="ada@host",
                at=datetime.now(UTC) + timedelta(days=sequence),
                previous=sequence - 1 or None,
            ),
        )


def test_publications_and_runs_go_and_readers_say_so(root: str, runs: list[RunFolder]) -> None:
    for number, folder in enumerate(runs, start=1):
        publish_next(root, folder, number)
    before = files_below(root)
    listed = retire(root, keep_last=2, keep_days=None, now=LATER)
    assert files_below(root) == before, "listing removes nothing"
    assert [item.kind for item in listed] == ["publication"] * 3 + ["run"] * len(gone(root, listed))
    clear(root, keep_last=2)
    assert sequences(root) == [4, 5]
    assert intact(root)
    latest = retention.latest_of(root)
    for folder in runs[:3]:
        assert Path(folder.path).exists() == (folder.path[-16:] in latest)
    assert publish_next(root, runs[3], 6).sequence == 6


def gone(root: str, listed: Sequence[Any]) -> list[str]:
    """Paths of the runs in a list of what goes; none that LATEST.json names."""
    paths = [item.path for item in listed if item.kind == "run"]
    assert not {path[-16:] for path in paths} & retention.latest_of(root)
    return paths


def test_a_run_that_is_named_again_meanwhile_stays(
    root: str, runs: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback comes between the removal of a publication and that of its run."""
    unnamed = [one for one in runs if one.path[-16:] not in retention.latest_of(root)]
    for number, folder in enumerate([*unnamed[:2], *unnamed[:1], unnamed[2]], start=1):
        publish_next(root, folder, number)
    plain, marked = retention._remove_pointer, []

    def late(path: str, run: Any) -> None:
        if path.endswith("000000001.json"):
            rollback(root, to=2, why="it is needed after all")
        marked.append(run)
        plain(path, run)

    monkeypatch.setattr(retention, "_remove_pointer", late)
    clear(root, keep_last=2)
    found = current(root)
    assert found is not None
    assert (found.sequence, found.run_id) == (5, unnamed[1].path[-16:])
    assert intact(root)
    assert not announced(root, MARKS)


def test_a_run_that_somebody_is_about_to_publish_stays_and_one_that_goes_cannot_be(
    root: str, runs: list[RunFolder]
) -> None:
    unnamed = [one for one in runs if one.path[-16:] not in retention.latest_of(root)]
    for number, folder in enumerate(unnamed[:3], start=1):
        publish_next(root, folder, number)
    claim = announce(root, CLAIMS, unnamed[0].path[-16:])
    assert clear(root, now=datetime.now(UTC)) == ["publication"] * 2 + ["run"] * 2
    assert Path(unnamed[0].path, "_SUCCESS").exists()
    assert not Path(unnamed[1].path).exists()
    assert clear(root) == ["claim"], "what a killed publisher left goes in a day"
    assert not announced(root, CLAIMS)
    assert claim.run_id == unnamed[0].path[-16:]
    mark = announce(root, MARKS, unnamed[2].path[-16:])
    with pytest.raises(RunFailedError, match="retention is removing this run"):
        publish_next(root, unnamed[2], 4)
    assert clear(root, keep_last=None) == ["mark"], "of a run that stays"
    assert announced(root, MARKS) == []
    assert mark.run_id
    assert publish_next(root, unnamed[2], 4).sequence == 4


@pytest.mark.parametrize("point", failpoints.OF_RETENTION)
def test_killed_at_any_step_and_run_again(
    point: str, drivers: Drivers, root: str, runs: list[RunFolder]
) -> None:
    for number, folder in enumerate(runs, start=1):
        publish_next(root, folder, number)
    how = {"work": f"{HERE}:retire_all_but_one"}
    assert drivers.run({"root": root}, at=f"{point}:2=crash", **how) == KILLED
    assert intact(root)
    assert drivers.run({"root": root}, **how) == 0
    assert sequences(root) == [RUNS]
    assert intact(root)
    left = {path.name for path in Path(root).iterdir() if path.is_dir()}
    named = {runs[-1].path[-16:]} | retention.latest_of(root)
    assert left == named | {"published"}
    assert not announced(root, MARKS)


def test_a_run_that_a_driver_is_at_stays_with_its_publication(
    root: str, runs: list[RunFolder]
) -> None:
    for number, folder in enumerate(runs, start=1):
        publish_next(root, folder, number)
    second = runs[1]
    holder = Holder(
        run_id=second.path[-16:], epoch=9, owner="x", host="h", pid=1, ttl_s=10.0, state=HELD,
        time=LATER.timestamp(),
    )  # fmt: skip
    Path(second.file("lease.json")).write_bytes(holder.to_bytes())
    clear(root)
    assert sequences(root) == [2, 3, 4, 5]
    assert intact(root)


def refreshed(folder: RunFolder, day: date, table: str) -> None:
    """Make a run one of a refresh, by what ``run.json`` says."""
    reuse = {"folder": "f", "table_id": table, "date": day.isoformat(), "previous": None}
    about = records.to_bytes(records.Description, folder.describe() | {"reuse": reuse})
    Path(folder.file("run.json")).write_bytes(about)


def test_tables_changes_and_runs_that_nothing_names_go(root: str, runs: list[RunFolder]) -> None:
    unnamed = [one for one in runs if one.path[-16:] not in retention.latest_of(root)]
    old, failed, newest, coming = unnamed[:4]
    tables = {"a" * 16: old, "b" * 16: failed, "c" * 16: newest, "d" * 16: coming}
    for number, (table, folder) in enumerate(tables.items(), start=1):
        refreshed(folder, night(number), table)
    publish_next(root, old, 1)
    publish_next(root, newest, 3)  # the gates let neither the second night pass nor the fourth
    ids = [one.path[-16:] for one in (old, failed, newest)]
    names = [f"_reuse/{table}" for table in (*tables, "e" * 16)]
    changes = [f"none-{ids[0]}", f"{ids[0]}-{ids[2]}", f"none-{ids[2]}"]
    names += [f"_changes/{name}" for name in changes]
    for name in names:
        place = Path(root, name)
        place.mkdir(parents=True)
        for file in ("manifest.json", "part-00000.parquet"):
            (place / file).write_bytes(b"x")
    kept = Path(root, "_reuse", "notes")
    kept.mkdir()
    assert clear(root, keep_last=None, now=datetime.now(UTC)) == [], "they are young"
    assert clear(root, keep_last=None) == ["reuse"], "the one that no run was made with"
    gone = retire(root, keep_last=1, keep_days=None, now=LATER, delete=True)
    assert sorted(item.kind for item in gone) == [
        "changes", "changes", "publication", "reuse", "reuse", "run", "run",
    ]  # fmt: skip
    assert sorted(path.name for path in Path(root, "_reuse").iterdir()) == [
        "c" * 16, "d" * 16, "notes",
    ]  # fmt: skip
    assert [path.name for path in Path(root, "_changes").iterdir()] == [f"none-{ids[2]}"]
    assert not Path(old.path).exists()
    assert not Path(failed.path).exists(), "no night before the current one is published any more"
    assert Path(coming.path).exists(), "it may still be accepted"
    assert Path(unnamed[-1].path).exists()


def test_what_a_run_did_not_make_stays(root: str, runs: list[RunFolder]) -> None:
    unnamed = [one for one in runs if one.path[-16:] not in retention.latest_of(root)]
    for number, folder in enumerate(unnamed[:2], start=1):
        publish_next(root, folder, number)
    notes = Path(unnamed[0].path, "ranked", "notes.txt")
    notes.write_text("mine")
    elsewhere = Path(root).parent / "elsewhere"
    elsewhere.write_text("not ours")
    Path(unnamed[0].path, "ranked", f"unit-{'0' * 24}.parquet").symlink_to(elsewhere)
    clear(root)
    assert notes.read_text() == "mine"
    assert elsewhere.read_text() == "not ours"
    assert not is_run(unnamed[0].path)


def test_where_nobody_knows_what_is_named_nothing_goes(root: str, runs: list[RunFolder]) -> None:
    for number, folder in enumerate(runs[:3], start=1):
        publish_next(root, folder, number)
    Path(path_of(root, 2)).write_bytes(b"")
    before = files_below(root)
    with pytest.raises(DamagedRunError, match="000000002"):
        clear(root)
    assert files_below(root) == before
    with pytest.raises(ConfigurationError, match="keep_last: 0, expected a whole number from 1"):
        clear(root, keep_last=0)


def test_in_an_object_store(s3_folder: str, tmp_path: Path) -> None:
    folders = [make_run(s3_folder, tmp_path, seed) for seed in range(3)]
    for number, folder in enumerate(folders, start=1):
        publish_next(s3_folder, folder, number)
    assert clear(s3_folder) == ["publication", "publication", "run", "run"]
    names = {name.partition("/")[0] for name in files_below(s3_folder)} - {""}
    assert {name for name in names if len(name) == 16} == {folders[2].path[-16:]}
    assert intact(s3_folder)
