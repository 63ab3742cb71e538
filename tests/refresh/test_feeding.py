"""Targets come to the current publication from wherever they stand, whatever is cut off."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.testing
import yaml

from pipeline import commands, failpoints
from pipeline.config import LeaseConfig
from pipeline.config.feeds import FeedConfig
from pipeline.errors import FeedError, NotFoundError
from pipeline.execution.runs.holder import RELEASED, Holder, read_lease
from pipeline.execution.runs.lease import take
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.feeds.support.finding import build
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.feed_progress import read_progress
from pipeline.refresh.feeding import Fed, feed_targets
from pipeline.refresh.publications.publishing import publish
from pipeline.refresh.publications.reading import current
from pipeline.refresh.publications.record import path_of
from pipeline.storage.probe import StoreAbilities
from pipeline.storage.store import replace_if_unchanged
from tests.makers import long_table
from tests.refresh.changes.runs import job, next_night, rows_of, run_of
from tests.support.engines import Bulk, Engine, VespaContainer, listening

ALIAS = {"name": "search", "kind": "elasticsearch", "alias": "ranked"}
VESPA = {
    "name": "vespa", "kind": "vespa", "namespace": "serving", "document_type": "ranked",
    "cluster": "content",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs, none of them published."""
    folder, table = tmp_path_factory.mktemp("nights"), long_table(queries=4, documents=4)
    for _ in range(3):
        run_of(folder, table)
        table = next_night(table)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe of stores is tested elsewhere, and would cost every test its second."""
    abilities = StoreAbilities(create=True, replace=True, detail="")
    for module in ("feeding", "publications.publishing"):
        monkeypatch.setattr(f"pipeline.refresh.{module}.probe", lambda _: abilities)


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> list[RunFolder]:
    """The runs in an output folder of the test's own, in the order of their nights."""
    root = tmp_path / "out"
    shutil.copytree(made / "out", root)
    found = [path for path in root.iterdir() if (path / "run.json").exists()]
    found.sort(key=lambda path: RunFolder(str(path)).describe()["config"]["input"]["path"])
    return [RunFolder(str(path)) for path in found]


def publish_next(runs: Sequence[RunFolder], number: int) -> None:
    root = runs[0].path.rpartition("/")[0]
    now = current(root)
    after = None if now is None else now.sequence
    day = date(2026, 11, 1) + timedelta(days=0 if now is None else now.sequence)
    publish(root, runs[number], after=after, date=day)


def feed(
    runs: Sequence[RunFolder], *targets: dict[str, Any], full: bool = False, max_rows: int = 3
) -> list[Fed]:
    root = runs[0].path.rpartition("/")[0]
    config = job(Path(root).parent, long_table(queries=1, documents=1))

    def make(before: RunFolder | None, after: RunFolder) -> Changes:
        return make_changes(root, before, after, config)

    quick = {"attempts": 1, "connections": 1, "max_rows": max_rows}
    feeds = [
        build(FeedConfig.model_validate({"path": f"{root}-{one['name']}", **quick, **one}))
        for one in targets
    ]
    return feed_targets(root, feeds, make=make, lease=LeaseConfig(ttl_s=0.5), full=full)


def holds(engine: Engine, run: RunFolder) -> bool:
    """Whether an engine holds the ranking of a run, and nothing else."""
    rows = {(r["query_id"], r["doc_id"]): (r["rank"], r["score"]) for r in rows_of(run)}
    found = {
        (d["query_id"], d["doc_id"]): (d["rank"], d.get("score")) for d in engine.visible().values()
    }
    assert len(found) == len(engine.visible())
    near = {key: (rank, pytest.approx(score)) for key, (rank, score) in rows.items()}
    return near == found


def test_every_publication_arrives_as_changes(runs: list[RunFolder]) -> None:
    bulk, vespa = Bulk(), VespaContainer()
    with listening(bulk) as one, listening(vespa) as other:
        targets = [ALIAS | {"url": one}, VESPA | {"url": other}]
        with pytest.raises(NotFoundError, match="nothing is published"):
            feed(runs, *targets)
        for generation, number in enumerate((0, 1, 2, 0), start=1):
            publish_next(runs, number)
            done = feed(runs, *targets)
            assert [fed.generation for fed in done] == [generation] * 2
            assert holds(bulk, runs[number]) and holds(vespa, runs[number])
        served = len(bulk.seen)
        again = feed(runs, *targets)
        assert [(fed.before, fed.generation) for fed in again] == [(4, 4)] * 2
        assert len(bulk.seen) == served + 1  # it was asked what it holds


@pytest.mark.parametrize("point", failpoints.OF_FEEDING)
@pytest.mark.parametrize("in_between", [False, True])
def test_cut_off_at_any_step_and_run_again(
    point: str, in_between: bool, runs: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vespa is changed in place: what was begun is finished, even where a later night came."""
    vespa = VespaContainer()
    with listening(vespa) as url:
        target = VESPA | {"url": url}
        publish_next(runs, 0)
        feed(runs, target)
        publish_next(runs, 1)
        monkeypatch.setattr(failpoints, "_hits", Counter())
        monkeypatch.setenv(failpoints.VARIABLE, f"{point}:1=raise")
        with pytest.raises(FeedError, match="1 of 1 feeds"):
            feed(runs, target)
        monkeypatch.delenv(failpoints.VARIABLE)
        if in_between:
            publish_next(runs, 0)  # what is changed in part must be changed back
        feed(runs, target, max_rows=2)
        assert holds(vespa, runs[0 if in_between else 1])


def test_a_feed_that_fails_does_not_stop_the_others(runs: list[RunFolder]) -> None:
    publish_next(runs, 0)
    bulk = Bulk()
    with listening(bulk) as url:
        nobody = VESPA | {"url": "http://127.0.0.1:9"}
        with pytest.raises(FeedError, match=r"'vespa' stands at no generation: .*no answer"):
            feed(runs, nobody, ALIAS | {"url": url})
        assert holds(bulk, runs[0])


def test_what_cannot_be_started_from_is_loaded_as_a_whole(runs: list[RunFolder]) -> None:
    bulk, vespa = Bulk(), VespaContainer()
    root = runs[0].path.rpartition("/")[0]
    with listening(bulk) as one, listening(vespa) as other:
        targets = [ALIAS | {"url": one}, VESPA | {"url": other}]
        publish_next(runs, 0)
        feed(runs, *targets)
        publish_next(runs, 1)
        Path(path_of(root, 1)).unlink()  # retired
        feed(runs, *targets)
        assert holds(bulk, runs[1]) and holds(vespa, runs[1])
        bulk.aliases.clear()  # somebody set the cluster up anew
        vespa.documents["strange"] = {"generation": 1}
        feed(runs, *targets, full=True)
        assert holds(bulk, runs[1]) and holds(vespa, runs[1])
        seen = len(bulk.seen)
        feed(runs, *targets, full=True)  # over the very generation that readers see
        assert holds(bulk, runs[1])
        assert all(bulk.seen[seen:])


def test_a_target_of_another_folder_is_refused(runs: list[RunFolder]) -> None:
    bulk = Bulk()
    with listening(bulk) as url:
        publish_next(runs, 0)
        publish_next(runs, 1)
        feed(runs, ALIAS | {"url": url})
        Path(path_of(runs[0].path.rpartition("/")[0], 2)).unlink()
        with pytest.raises(FeedError, match=r"holds generation 2, but in .* the last publication"):
            feed(runs, ALIAS | {"url": url})


def test_a_target_that_this_folder_never_fed_is_loaded_on_request_alone(
    runs: list[RunFolder], made: Path, tmp_path: Path
) -> None:
    """The same number in another output folder is another publication."""
    vespa, before = VespaContainer(), tmp_path / "before"
    shutil.copytree(made / "out", before / "out")
    others = [RunFolder(f"{before}/out/{Path(run.path).name}") for run in runs]
    with listening(vespa) as url:
        target = VESPA | {"url": url, "path": str(tmp_path / "files")}
        publish_next(others, 0)
        feed(others, target)
        publish_next(runs, 1)
        with pytest.raises(FeedError, match=r"has never fed it.*--full"):
            feed(runs, target)
        assert holds(vespa, runs[0])
        feed(runs, target, full=True)
        assert holds(vespa, runs[1])


def test_publications_that_begin_again_are_loaded_anew(
    runs: list[RunFolder], tmp_path: Path
) -> None:
    vespa = VespaContainer()
    with listening(vespa) as url:
        publish_next(runs, 0)
        feed(runs, VESPA | {"url": url})
        shutil.rmtree(Path(path_of(runs[0].path.rpartition("/")[0], 1)).parent)
        publish_next(runs, 1)
        [fed] = feed(runs, VESPA | {"url": url})
        assert (fed.before, fed.generation) == (1, 1)
        assert holds(vespa, runs[1])


def take_over(path: str) -> None:
    """Give a lease to somebody else, who has given it back already."""
    while True:
        data, version = read_lease(path) or (b"", "")
        other = replace(Holder.from_bytes(path, data), owner="other", epoch=9, state=RELEASED)
        if replace_if_unchanged(path, other.to_bytes(), version) is not None:
            return


def test_a_driver_that_was_overtaken_puts_no_further_part(
    runs: list[RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a target that is changed in place its parts would go over those of the other driver."""
    vespa, original = VespaContainer(), failpoints.reached
    root = Path(runs[0].path).parent
    with listening(vespa) as url:
        target = VESPA | {"url": url}
        publish_next(runs, 0)
        feed(runs, target)
        publish_next(runs, 1)

        def overtaken(step: str) -> None:
            original(step)
            if step == "feed.part_put":
                [lease] = root.glob("_feeds/*/lease.json")
                take_over(str(lease))

        monkeypatch.setattr(failpoints, "reached", overtaken)
        with pytest.raises(FeedError, match="took this run over"):
            feed(runs, target, max_rows=1)
        monkeypatch.setattr(failpoints, "reached", original)
        [folder] = root.glob("_feeds/*")
        left = read_progress(str(folder))
        assert left is not None and (left.generation, left.done) == (2, 0)
        feed(runs, target)
        assert holds(vespa, runs[1])


def test_one_driver_at_a_time(runs: list[RunFolder]) -> None:
    publish_next(runs, 0)
    feed(runs, ALIAS)
    [folder] = Path(runs[0].path).parent.joinpath("_feeds").iterdir()
    lease = take(str(folder), ttl_s=5, progress=dict)
    try:
        with pytest.raises(FeedError, match="process"):
            feed(runs, ALIAS)
    finally:
        lease.release()


def test_the_command(runs: list[RunFolder], tmp_path: Path) -> None:
    publish_next(runs, 0)
    config = {
        "model": {"name": "lexical"}, "input": {"path": "in"}, "ray": {"mode": "in_process"},
        "output": {"path": runs[0].path.rpartition("/")[0]},
        "refresh": {"feeds": [ALIAS | {"path": str(tmp_path / "files")}]},
    }  # fmt: skip
    (tmp_path / "refresh.yaml").write_text(yaml.safe_dump(config))
    invoked = typer.testing.CliRunner().invoke(
        commands.app, ["feed", "-c", str(tmp_path / "refresh.yaml")]
    )
    assert invoked.exit_code == 0, invoked.output
    assert "search: generation 1, from nothing" in invoked.output
    assert (tmp_path / "files" / "000000001" / "manifest.json").exists()
