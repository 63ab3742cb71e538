"""A night that is killed, doubled, rolled back or late comes to one publication, or to none."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from pipeline.config import RefreshConfig
from pipeline.errors import ConfigurationError, ExitCode, GateError, NotFoundError
from pipeline.refresh.asked import Night
from pipeline.refresh.night import refresh
from pipeline.refresh.publications.reading import current, history
from pipeline.refresh.publications.rolling_back import rollback
from tests.execution.drivers import KILLED, Driver, Drivers, families_of_tests
from tests.refresh.collections import Collection, generated
from tests.refresh.season import FIRST, Season, rows

pytestmark = pytest.mark.usefixtures("believed_store")

HOOKS = ("tests.execution.drivers:skip_probe",)

#: Steps of a night at which it is killed, in their order; those of the run have tests of their own.
STEPS = (
    "reuse.part_written",
    "reuse.finished",
    "night.matched",
    "unit.written",
    "success.written",
    "night.ran",
    "night.compared",
    "publication.claimed",
    "publication.created",
    "night.published",
    "feed.part_put",
    "feed.switched",
    "night.fed",
    "night.retired",
)


def start(drivers: Drivers, season: Season, night: object, *, at: str = "") -> Driver:
    """A process that does one night."""
    job = {"config": season.job(), "date": str(night)}
    return drivers.start(job, at=at, hooks=HOOKS, work="tests.refresh.season:work")


@pytest.fixture(scope="module")
def two_nights() -> tuple[Collection, Collection]:
    first = generated(queries=12, documents=40)
    return first, first.with_texts(0.1, seed=1).with_queries(added=1, removed=1, seed=1)


def test_a_night_that_is_killed_at_any_step_comes_to_the_same_publication(
    drivers: Drivers, season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    target = Path(season.root) / "feed"
    season.section["feeds"] = [
        {"name": "search", "kind": "elasticsearch", "alias": "answers", "path": str(target)}
    ]
    season.night(first, 0)
    night = season.given(second, 1)
    before = season.folder / "before"
    shutil.copytree(season.root, before)
    done = season.night(second, 1)
    wanted, delivered = rows(done.outcome.folder), files(target / "000000002")
    assert delivered
    for step in STEPS:
        shutil.rmtree(season.root)
        shutil.copytree(before, season.root)
        assert start(drivers, season, night, at=f"{step}:1=crash").wait() == KILLED, step
        serving = current(season.root)
        assert serving is not None
        late = STEPS.index(step) >= STEPS.index("publication.created")
        assert serving.sequence == (2 if late else 1), step
        again = season.night(second, 1)
        assert [one.sequence for one in history(season.root)] == [2, 1], step
        assert again.publication.run_id == done.publication.run_id
        assert again.publication.manifest_sha256 == done.publication.manifest_sha256
        assert rows(again.outcome.folder).equals(wanted)
        assert [fed.generation for fed in again.fed] == [2]
        assert files(target / "000000002") == delivered, step


def files(folder: Path) -> dict[str, bytes]:
    """The requests that a feed has written of one generation."""
    assert (folder / "manifest.json").is_file()
    pieces = (path for path in folder.iterdir() if path.name != "manifest.json")
    return {path.name: path.read_bytes() for path in pieces}


def test_of_two_refreshes_of_one_night_one_works(
    drivers: Drivers, season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    night = season.given(two_nights[0], 0)
    both = [start(drivers, season, night) for _ in range(2)]
    codes = sorted(driver.wait() for driver in both)
    assert codes[0] == 0
    assert codes[1] in (0, ExitCode.HELD)  # 0: it came when all was done
    assert [one.sequence for one in history(season.root)] == [1]


def test_a_refresh_that_was_overtaken_publishes_nothing(
    drivers: Drivers, season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    night = season.given(first, 0)
    slow = start(drivers, season, night, at="night.ran:1=pause")
    slow.wait_until_stopped()
    season.night(second, 0)
    os.kill(slow.process.pid or 0, signal.SIGCONT)
    assert slow.wait() == ExitCode.HELD
    assert "PublishedMeanwhileError" in slow.errors
    assert "Run the same command again" in slow.errors
    assert [one.sequence for one in history(season.root)] == [1]


def test_the_same_night_again_is_done_and_publishes_nothing(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    season.night(first, 0)
    one = season.night(second, 1)
    season.shown()
    again = season.night(second, 1)
    assert again.publication == one.publication
    assert again.outcome.already_finished
    assert season.shown() == []


def test_another_input_of_the_same_night_is_published_in_its_place(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    season.night(first, 0)
    wrong = season.night(first.with_texts(0.5, seed=9), 1)
    right = season.night(second, 1)
    assert (wrong.publication.sequence, right.publication.sequence) == (2, 3)
    assert right.table.previous is not None
    assert right.table.previous["sequence"] == 1  # never what the night itself has published


def test_a_missed_night_is_caught_up_in_order_and_not_afterwards(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    season.night(first, 0)
    season.night(second, 2)
    with pytest.raises(ConfigurationError, match=r"publication 2 of 2026-02-01 serves already"):
        season.night(second, 1)
    season.night(second, 5)
    assert [one.date.day for one in history(season.root)] == [4, 1, 30]


def test_what_was_rolled_back_is_not_published_again_by_its_night_but_the_next_one_goes_on(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    one = season.night(first, 0)
    season.night(second, 1)
    back = rollback(season.root, why="wrong titles")
    assert (back.sequence, back.run_id) == (3, one.publication.run_id)
    with pytest.raises(ConfigurationError, match=r"was rolled back by .*wrong titles"):
        season.night(second, 1)
    season.shown()
    done = season.night(second, 2)
    assert done.publication.sequence == 4
    # What it builds on is what serves: the texts of the first night.
    assert set(season.shown()) == second.pairs() - first.pairs()


def test_an_input_that_is_not_there_leaves_what_serves(season: Season) -> None:
    config = RefreshConfig.model_validate(season.job())
    night = Night(config=config, date=FIRST, allow_code=families_of_tests(config))
    with pytest.raises(NotFoundError, match=str(FIRST)):
        refresh(night)
    assert current(season.root) is None


def test_a_gate_that_fails_publishes_nothing_and_is_accepted_by_name(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, _ = two_nights
    season.section["gates"]["min_query_coverage"] = 0.9
    season.night(first, 0)
    season.shown()
    fewer = first.with_queries(added=0, removed=3, seed=4)
    for _ in range(2):
        with pytest.raises(GateError, match=r"min_query_coverage: 0\.75") as refused:
            season.night(fewer, 1)
        assert refused.value.exit_code == 7
        assert [one.sequence for one in history(season.root)] == [1]
    done = season.night(
        fewer, 1, accept=frozenset(["min_query_coverage"]), reason="three were retired"
    )
    assert season.shown() == []
    [accepted] = done.publication.accepted
    assert (accepted["gate"], accepted["why"]) == ("min_query_coverage", "three were retired")
    assert "@" in accepted["by"]
    assert done.publication.gates["min_query_coverage"] == {
        "value": 0.75, "limit": 0.9, "passed": False
    }  # fmt: skip
    # It was of that night only, and the next one compares with what was accepted.
    season.night(fewer, 2)
    assert [one.sequence for one in history(season.root)] == [3, 2, 1]


def test_old_nights_are_retired_and_the_same_night_again_is_still_the_same(
    season: Season, two_nights: tuple[Collection, Collection]
) -> None:
    first, second = two_nights
    season.section["retention"] = {"keep_last": None, "keep_days": 0}
    for number in range(3):
        season.night(first, number)
    done = season.night(second, 3)
    assert [one.sequence for one in history(season.root)] == [4, 3]
    kept = {one.run_id for one in history(season.root)}
    assert {path.parent.name for path in Path(season.root).glob("*/run.json")} == kept
    assert season.night(second, 3).publication == done.publication
