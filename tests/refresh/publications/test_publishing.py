"""Publishing: one winner, nothing overwritten, and no publication of what is not whole."""

from __future__ import annotations

import hashlib
import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline import failpoints
from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    ExitCode,
    PublishedMeanwhileError,
    RunFailedError,
)
from pipeline.execution.runs import records
from pipeline.execution.runs.run_folder import MANIFEST, SUCCESS, RunFolder
from pipeline.refresh.publications import publishing
from pipeline.refresh.publications.claims import CLAIMS, MARKS, announce, announced
from pipeline.refresh.publications.publishing import publish
from pipeline.refresh.publications.reading import (
    current,
    current_before,
    history,
    publication,
    run_of,
    sequences,
    why_incomplete,
)
from pipeline.refresh.publications.record import PUBLISH, path_of
from pipeline.refresh.publications.rolling_back import rollback
from pipeline.storage.probe import StoreAbilities
from tests.execution.drivers import KILLED, Drivers
from tests.execution.oracle import files_below
from tests.refresh.publications.runs import HERE, make_run, night, publish_next

HOOKS = (f"{HERE}:believe_the_store",)
PUBLISH_ONE = f"{HERE}:publish_one"


def test_publications_count_up_and_name_what_was_measured(root: str, runs: list[RunFolder]) -> None:
    assert current(root) is None
    gates = {"min_overlap": {"value": 0.4, "limit": 0.5, "passed": False}}
    word = {"gate": "min_overlap", "by": "ada@host", "at": "2026-11-02T03:00:00Z", "why": "titles"}
    first = publish(root, runs[0], after=None, date=night(1))
    second = publish(root, runs[1], after=1, date=night(2), gates=gates, accepted=[word])
    assert (first.sequence, first.previous, first.action) == (1, None, PUBLISH)
    assert (second.sequence, second.previous) == (2, 1)
    assert second.previous_sha256 == first.sha256
    assert current(root) == second
    assert history(root) == [second, first]
    assert (second.gates, second.accepted) == (gates, (word,))
    assert run_of(root, second) == runs[1]
    assert "@" in second.by


def test_the_same_run_of_the_same_night_is_no_new_publication(
    root: str, runs: list[RunFolder]
) -> None:
    first = publish(root, runs[0], after=None, date=night(1))
    before = files_below(root)
    assert publish(root, runs[0], after=None, date=night(1)) == first
    assert publish(root, runs[0], after=1, date=night(1)) == first
    assert files_below(root) == before
    assert publish(root, runs[0], after=1, date=night(2)).sequence == 2, "another night is news"


def test_a_night_builds_on_the_publication_of_an_earlier_one(
    root: str, runs: list[RunFolder]
) -> None:
    first = publish_next(root, runs[0], 1)
    second = publish_next(root, runs[1], 2)
    fixed = publish_next(root, runs[2], 2)
    assert current_before(root, night(1)) is None
    assert current_before(root, night(2)) == first
    assert current_before(root, night(3)) == fixed
    back = rollback(root, to=2, why="the fix was none")
    assert (back.date, back.run_id) == (night(2), second.run_id)
    assert current_before(root, night(2)) == first
    assert current_before(root, night(3)) == back


def test_an_earlier_night_is_not_published_over_a_later_one(
    root: str, runs: list[RunFolder]
) -> None:
    publish_next(root, runs[0], 5)
    with pytest.raises(ConfigurationError, match=r"2026-11-04: publication 1 .*of 2026-11-05"):
        publish_next(root, runs[1], 4)
    assert sequences(root) == [1]


def test_what_was_decided_on_another_publication_is_refused(
    root: str, runs: list[RunFolder]
) -> None:
    publish_next(root, runs[0], 1)
    for after in (None, 2, 7):
        with pytest.raises(PublishedMeanwhileError, match=r"publication 1 \(run .* is current"):
            publish(root, runs[1], after=after, date=night(2))
    assert sequences(root) == [1]
    assert not announced(root, CLAIMS)


def test_of_many_threads_one_publishes(root: str, runs: list[RunFolder]) -> None:
    start = threading.Barrier(len(runs))

    def one(folder: RunFolder) -> str | None:
        start.wait()
        try:
            publish(root, folder, after=None, date=night(1))
        except PublishedMeanwhileError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(runs)) as pool:
        said = list(pool.map(one, runs))
    assert said.count(None) == 1
    found = current(root)
    assert found is not None
    assert (sequences(root), found.run_id) == ([1], runs[said.index(None)].path[-16:])
    assert all("Run the same command again" in text for text in said if text is not None)
    assert not announced(root, CLAIMS)


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_of_two_processes_one_publishes(
    where: str,
    drivers: Drivers,
    tmp_path: Path,
    root: str,
    request: pytest.FixtureRequest,
) -> None:
    if where == "s3":
        root = request.getfixturevalue("s3_folder")
    folders = [make_run(root, tmp_path, seed) for seed in range(2)]
    jobs = [{"root": root, "run": one.path[-16:], "after": None, "night": 1} for one in folders]
    # Both have seen that nothing was published, and stand before the write that decides.
    stopped = [
        drivers.start(job, at="publication.claimed:1=pause", hooks=HOOKS, work=PUBLISH_ONE)
        for job in jobs
    ]
    for one in stopped:
        one.wait_until_stopped()
    for one in stopped:
        one.send(signal.SIGCONT)
    codes = [one.wait() for one in stopped]
    assert sorted(codes) == [0, ExitCode.HELD], [one.errors for one in stopped]
    winner, loser = codes.index(0), codes.index(ExitCode.HELD)
    assert f"publication 1 (run {jobs[winner]['run']}" in stopped[loser].errors
    found = current(root)
    assert found is not None
    assert (sequences(root), found.run_id) == ([1], jobs[winner]["run"])
    assert not announced(root, CLAIMS)


@pytest.mark.parametrize("point", failpoints.OF_PUBLICATION)
def test_killed_at_any_step_and_run_again(
    point: str, drivers: Drivers, root: str, runs: list[RunFolder]
) -> None:
    publish_next(root, runs[0], 1)
    job = {"root": root, "run": runs[1].path[-16:], "after": 1, "night": 2}
    how = {"hooks": HOOKS, "work": PUBLISH_ONE}
    assert drivers.run(job, at=f"{point}:1=crash", **how) == KILLED
    assert all(not why_incomplete(run_of(root, one)) for one in history(root))
    assert drivers.run(job, **how) == 0
    assert drivers.run(job, **how) == 0
    assert sequences(root) == [1, 2]
    found = current(root)
    assert found is not None
    assert found.run_id == job["run"]


def _unfinished(folder: RunFolder) -> None:
    Path(folder.file(SUCCESS)).unlink()


def _without_manifest(folder: RunFolder) -> None:
    Path(folder.file(MANIFEST)).unlink()


def _other_manifest(folder: RunFolder) -> None:
    path = Path(folder.file(MANIFEST))
    path.write_bytes(path.read_bytes() + b" ")


def _short_file(folder: RunFolder) -> None:
    path = next(Path(folder.path, "ranked").iterdir())
    path.write_bytes(path.read_bytes()[:-1])


def _lost_file(folder: RunFolder) -> None:
    next(Path(folder.path, "ranked").iterdir()).unlink()


HARM = {
    "_SUCCESS": _unfinished,
    "manifest.json": _without_manifest,
    "another one than": _other_manifest,
    "bytes, not the": _short_file,
    "ranked/unit-": _lost_file,
}


@pytest.mark.parametrize("named", HARM)
def test_a_run_that_is_not_whole_is_never_published(
    named: str, root: str, runs: list[RunFolder]
) -> None:
    HARM[named](runs[0])
    with pytest.raises(RunFailedError, match=f"cannot be published: .*{named}"):
        publish(root, runs[0], after=None, date=night(1))
    assert sequences(root) == []
    assert not announced(root, CLAIMS)


@pytest.mark.parametrize("named", HARM)
def test_a_publication_whose_run_was_changed_is_refused_by_name(
    named: str, root: str, runs: list[RunFolder]
) -> None:
    found = publish(root, runs[0], after=None, date=night(1))
    HARM[named](runs[0])
    with pytest.raises(DamagedRunError, match=f"(?s)000000001.json: names run .*{named}"):
        run_of(root, found)


def test_a_run_that_was_made_anew_is_not_what_was_published(
    root: str, runs: list[RunFolder]
) -> None:
    """Whole in itself, with a manifest and ``_SUCCESS`` that agree, but another one."""
    found = publish(root, runs[0], after=None, date=night(1))
    manifest = runs[0].manifest() | {"score_scale": "another"}
    data = records.to_bytes(records.Manifest, manifest)
    Path(runs[0].file(MANIFEST)).write_bytes(data)
    about = {"run_id": found.run_id, "manifest_sha256": hashlib.sha256(data).hexdigest()}
    Path(runs[0].file(SUCCESS)).write_bytes(records.to_bytes(records.Success, about))
    with pytest.raises(DamagedRunError, match=r"000000001.json: .*was made anew since"):
        run_of(root, found)
    again = publish(root, runs[0], after=1, date=night(1))
    assert again.sequence == 2, "which is published as what it is now"
    assert run_of(root, again) == runs[0]


def test_a_failed_gate_that_nobody_accepted_is_no_publication(
    root: str, runs: list[RunFolder]
) -> None:
    gates = {"min_ndcg": {"value": 0.1, "limit": 0.3, "passed": False}}
    with pytest.raises(ValueError, match="min_ndcg failed"):
        publish(root, runs[0], after=None, date=night(1), gates=gates)
    with pytest.raises(ValueError, match="is no run of"):
        publish(f"{root}/elsewhere", runs[0], after=None, date=night(1))


def test_a_run_that_is_being_removed_is_not_published(root: str, runs: list[RunFolder]) -> None:
    mark = announce(root, MARKS, runs[0].path[-16:])
    with pytest.raises(RunFailedError, match="retention is removing this run"):
        publish(root, runs[0], after=None, date=night(1))
    assert announced(root, MARKS) == [mark]
    assert not announced(root, CLAIMS)


def test_a_sequence_that_was_retired_is_not_taken_again(
    root: str, runs: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher sleeps while others publish and retire what it is about to write."""
    from pipeline.storage import store

    publish_next(root, runs[0], 1)

    def late(path: str, data: bytes) -> bool:
        monkeypatch.undo()
        for number in (2, 3, 4):
            publish_next(root, runs[number - 1], number)
        for number in (1, 2):
            Path(path_of(root, number)).unlink()
        return store.create_if_absent(path, data)

    monkeypatch.setattr(publishing, "create_if_absent", late)
    with pytest.raises(PublishedMeanwhileError, match="publication 4"):
        publish(root, runs[4], after=1, date=night(2))
    assert sequences(root) == [3, 4]


DAMAGE = {
    "no seal": lambda path: path.write_bytes(b"{}"),
    "empty": lambda path: path.write_bytes(b""),
    "does not fit its seal": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"sequence": 2', b'"sequence": 9')
    ),
    "under another name": lambda path: path.write_bytes(
        path.with_name("000000001.json").read_bytes()
    ),
    "symbolic link": lambda path: (path.unlink(), path.symlink_to("000000001.json")),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_a_damaged_publication_is_named_and_no_older_one_taken(
    said: str, root: str, runs: list[RunFolder]
) -> None:
    for number in (1, 2):
        publish_next(root, runs[number], number)
    DAMAGE[said](Path(path_of(root, 2)))
    for look in (
        lambda: current(root),
        lambda: history(root),
        lambda: publication(root, 2),
        lambda: publish(root, runs[3], after=2, date=night(3)),
    ):
        with pytest.raises(DamagedRunError, match=f"000000002.json: .*{said}"):
            look()
    assert publication(root, 1).sequence == 1


def test_a_store_without_conditional_writes_is_refused_or_used_aloud(
    root: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    careful = make_run(root, tmp_path, 1)
    alone = make_run(root, tmp_path, 2, lease={"unsafe_store": "single_driver"})
    weak = StoreAbilities(create=False, replace=False, detail="8 of 8 created the same file")
    monkeypatch.setattr(publishing, "probe", lambda _: weak)
    with pytest.raises(ConfigurationError, match=r"8 of 8 created .*unsafe_store .*single_driver"):
        publish(root, careful, after=None, date=night(1))
    assert sequences(root) == []
    with caplog.at_level(logging.WARNING, logger="pipeline"):
        assert publish(root, alone, after=None, date=night(1)).sequence == 1
    assert "SINGLE-DRIVER MODE" in caplog.text
