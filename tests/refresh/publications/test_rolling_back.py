"""Rollbacks: new publications of old runs, which a scheduler does not undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import (
    ConfigurationError,
    DamagedRunError,
    NotFoundError,
    PublishedMeanwhileError,
)
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.refresh.publications import rolling_back
from pipeline.refresh.publications.claims import CLAIMS, announced
from pipeline.refresh.publications.reading import current, history, run_of, sequences
from pipeline.refresh.publications.record import ROLLBACK, path_of
from pipeline.refresh.publications.rolling_back import rollback
from tests.execution.drivers import KILLED, Drivers
from tests.refresh.publications.runs import HERE, publish_next
from tests.refresh.publications.test_publishing import DAMAGE, HOOKS


def published(root: str, runs: list[RunFolder], nights: int) -> list[str]:
    """Publish a run a night; their ids."""
    return [publish_next(root, runs[n], n + 1).run_id for n in range(nights)]


def test_a_rollback_is_a_new_publication_and_can_be_rolled_back(
    root: str, runs: list[RunFolder]
) -> None:
    first, second, third = published(root, runs, 3)
    back = rollback(root, why="wrong titles", by="ada@host")
    assert (back.sequence, back.run_id, back.restores, back.previous) == (4, second, 2, 3)
    assert (back.action, back.why, back.by) == (ROLLBACK, "wrong titles", "ada@host")
    assert current(root) == back
    assert run_of(root, back).path.endswith(second)
    forth = rollback(root, why="they were right")
    assert (forth.sequence, forth.run_id, forth.restores) == (5, third, 3)
    far = rollback(root, to=1, why="start again")
    assert (far.sequence, far.run_id) == (6, first)
    assert rollback(root, to=1, why="start again") == far, "which may be repeated"
    assert [one.sequence for one in history(root)] == [6, 5, 4, 3, 2, 1]
    assert not announced(root, CLAIMS)


def test_the_same_run_of_several_nights_is_one_step_back(root: str, runs: list[RunFolder]) -> None:
    publish_next(root, runs[0], 1)
    for number in (2, 3):
        publish_next(root, runs[1], number)
    assert rollback(root, why="a test").restores == 1


def test_a_night_that_is_done_again_does_not_undo_a_rollback(
    root: str, runs: list[RunFolder]
) -> None:
    published(root, runs, 2)
    rollback(root, why="wrong titles", by="ada@host")
    with pytest.raises(
        ConfigurationError, match=r"publication 2 .*by ada@host .*wrong titles.*--to 2` brings"
    ):
        publish_next(root, runs[1], 2)
    assert publish_next(root, runs[2], 2).sequence == 4, "another run of that night may be"
    with pytest.raises(ConfigurationError, match="rolled back"):
        publish_next(root, runs[1], 2)
    assert rollback(root, to=2, why="they were right").sequence == 5
    assert publish_next(root, runs[1], 2).sequence == 5, "it is current"
    assert publish_next(root, runs[2], 3).sequence == 6


def test_there_must_be_something_to_go_back_to(root: str, runs: list[RunFolder]) -> None:
    with pytest.raises(NotFoundError, match="nothing was published here"):
        rollback(root, why="a test")
    published(root, runs, 1)
    with pytest.raises(NotFoundError, match="none to go back to"):
        rollback(root, why="a test")
    with pytest.raises(NotFoundError, match=r"000000007.json: no such publication; .*1 to 1"):
        rollback(root, to=7, why="a test")
    assert sequences(root) == [1]


def test_a_run_that_is_not_what_was_published_is_not_gone_back_to(
    root: str, runs: list[RunFolder]
) -> None:
    published(root, runs, 3)
    Path(runs[1].file("_SUCCESS")).unlink()
    with pytest.raises(DamagedRunError, match=r"000000002.json: names run .*_SUCCESS is missing"):
        rollback(root, why="a test")
    assert rollback(root, to=1, why="a test").sequence == 4


@pytest.mark.parametrize("said", [said for said in DAMAGE if said != "symbolic link"])
def test_a_rollback_leads_out_of_a_damaged_publication(
    said: str, root: str, runs: list[RunFolder]
) -> None:
    first, _ = published(root, runs, 2)
    DAMAGE[said](Path(path_of(root, 2)))
    back = rollback(root, why="it is damaged")
    assert (back.sequence, back.run_id, back.previous) == (3, first, 2)
    assert current(root) == back
    assert publish_next(root, runs[2], 3).sequence == 4
    with pytest.raises(DamagedRunError, match="000000002"):
        history(root)


def test_of_a_rollback_and_a_publication_at_once_one_wins(
    root: str, runs: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(root, runs, 2)
    plain = rolling_back.create

    def late(*given: object) -> object:
        publish_next(root, runs[2], 3)
        return plain(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(rolling_back, "create", late)
    with pytest.raises(PublishedMeanwhileError, match="publication 3"):
        rollback(root, why="a test")
    assert [one.action for one in history(root)] == ["publish"] * 3


def test_killed_at_any_step_and_run_again(
    root: str, runs: list[RunFolder], drivers: Drivers
) -> None:
    published(root, runs, 2)
    how = {"hooks": HOOKS, "work": f"{HERE}:roll_back"}
    for to, point in ((1, "publication.claimed"), (2, "publication.created")):
        assert drivers.run({"root": root, "to": to}, at=f"{point}:1=crash", **how) == KILLED
        assert drivers.run({"root": root, "to": to}, **how) == 0
        assert sequences(root)[-1] == to + 2, "one rollback, however often it was begun"
